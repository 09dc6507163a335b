//! Names of programs, services and hosts. The dictionaries are trained on one set, the benchmark
//! measures on the other, so that no name is known beforehand that would not be in a real fleet.

/// A set of names that a fleet uses.
#[derive(Debug)]
pub struct Names {
    /// Program path, kernel task name, systemd unit (empty: only in containers), listening port.
    pub(crate) programs: &'static [(&'static str, &'static str, &'static str, u16)],
    pub(crate) services: &'static [&'static str],
    pub(crate) teams: &'static [&'static str],
    pub(crate) tag_keys: [&'static str; 3],
    pub(crate) sites: &'static [&'static str],
    pub(crate) kernels: &'static [&'static str],
    /// Second octet of the fleet's private network.
    pub(crate) network: u8,
}

/// What the dictionaries see.
pub const TRAINING: Names = Names {
    programs: &[
        ("/usr/sbin/nginx", "nginx", "nginx.service", 443),
        (
            "/usr/lib/postgresql/15/bin/postgres",
            "postgres",
            "postgresql@15-main.service",
            5432,
        ),
        (
            "/usr/bin/redis-server",
            "redis-server",
            "redis-server.service",
            6379,
        ),
        ("/usr/lib/jvm/java-11-openjdk/bin/java", "java", "", 8080),
        ("/usr/bin/python3.9", "gunicorn", "", 8000),
        ("/usr/sbin/haproxy", "haproxy", "haproxy.service", 80),
        ("/usr/bin/node", "node", "", 3000),
        ("/usr/sbin/mysqld", "mysqld", "mysqld.service", 3306),
        (
            "/opt/prometheus/prometheus",
            "prometheus",
            "prometheus.service",
            9090,
        ),
        ("/usr/bin/dockerd", "dockerd", "docker.service", 2375),
        ("/usr/sbin/sshd", "sshd", "sshd.service", 22),
        ("/usr/bin/kafka-run", "java", "kafka.service", 9092),
    ],
    services: &[
        "catalog",
        "checkout",
        "login",
        "mail-relay",
        "reports",
        "stock",
        "web",
        "worker",
    ],
    teams: &["core", "growth", "infra", "shop"],
    tag_keys: ["team", "env", "tier"],
    sites: &["fra", "ams", "lon", "mil"],
    kernels: &[
        "4.18.0-553.el8_10.x86_64",
        "5.10.0-32-amd64",
        "3.10.0-1160.el7.x86_64",
    ],
    network: 44,
};

/// What the benchmark measures.
pub const BENCH: Names = Names {
    programs: &[
        ("/opt/edge/bin/envoy", "envoy", "edge-proxy.service", 8443),
        (
            "/srv/pay/current/bin/settle",
            "settle",
            "pay-settle.service",
            7070,
        ),
        ("/usr/libexec/mariadbd", "mariadbd", "mariadb.service", 3307),
        ("/app/server", "ledger-api", "", 9000),
        ("/usr/local/bin/uwsgi", "uwsgi", "", 8081),
        (
            "/opt/oracle/product/19c/bin/tnslsnr",
            "tnslsnr",
            "oracle-listener.service",
            1521,
        ),
        ("/usr/lib/jvm/zulu-21/bin/java", "java", "", 8090),
        ("/usr/sbin/vsftpd", "vsftpd", "vsftpd.service", 21),
        (
            "/usr/share/elasticsearch/jdk/bin/java",
            "elasticsearch",
            "elasticsearch.service",
            9200,
        ),
        (
            "/opt/zabbix/sbin/zabbix_agentd",
            "zabbix_agentd",
            "zabbix-agent.service",
            10050,
        ),
        (
            "/usr/bin/memcached",
            "memcached",
            "memcached.service",
            11211,
        ),
        (
            "/opt/rabbit/erts/bin/beam.smp",
            "beam.smp",
            "rabbitmq-server.service",
            5672,
        ),
        ("/usr/bin/etcd", "etcd", "etcd.service", 2379),
        ("/app/bin/risk-engine", "risk-engine", "", 50051),
    ],
    services: &[
        "billing",
        "claims",
        "dunning",
        "fx-rates",
        "kyc",
        "ledger",
        "notify",
        "pricing",
        "risk",
        "settlement",
        "statements",
    ],
    teams: &["payments", "treasury", "platform", "fraud", "retail"],
    tag_keys: ["owner", "stage", "zone"],
    sites: &["waw", "osl", "zrh", "dub", "prg"],
    kernels: &[
        "5.14.0-427.13.1.el9_4.x86_64",
        "4.19.90-2401.ky10.aarch64",
        "6.1.0-21-amd64",
    ],
    network: 117,
};
