//! What a diagnosis says, in the languages that the page has.

use super::judge::Found;
use super::{Cause, Number, Scene, Statement, Verdict};

/// A language of people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// Of its code; English for others.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        match code {
            "zh" => Self::Chinese,
            _ => Self::English,
        }
    }

    const fn of(self, [english, chinese]: [&'static str; 2]) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// A sentence in each language, with names in braces.
type Said = [&'static str; 2];

pub(super) fn statement(scene: &Scene, found: Found, language: Language) -> Statement {
    let text = sentence(scene, &found, language);
    let shows = found.verdict < Verdict::Unknown;
    let next = shows.then(|| fill(scene, &found, language.of(next(found.cause))));
    Statement {
        cause: found.cause,
        verdict: found.verdict,
        text,
        numbers: found.numbers,
        next,
    }
}

pub(super) fn headline(scene: &Scene, found: &[Found], language: Language) -> String {
    match found.first() {
        Some(first) if first.verdict == Verdict::Likely => sentence(scene, first, language),
        Some(first) if first.verdict == Verdict::Possible => language
            .of([
                "Nothing that was measured is clearly wrong; see what is possible.",
                "已测量的指标没有明显异常；请查看可能的原因。",
            ])
            .to_owned(),
        _ if found.iter().any(|one| one.verdict == Verdict::Unknown) => language
            .of([
                "Nothing that was measured is wrong; some causes nobody can judge.",
                "已测量的指标均正常；部分原因无法判断。",
            ])
            .to_owned(),
        _ => language
            .of(["Nothing is wrong.", "一切正常。"])
            .to_owned(),
    }
}

fn sentence(scene: &Scene, found: &Found, language: Language) -> String {
    let said = match found.verdict {
        Verdict::Likely | Verdict::Possible => shown(found),
        Verdict::RuledOut => not_so(found.cause),
        Verdict::Unknown => not_known(found),
    };
    fill(scene, found, language.of(said))
}

/// A template with its names in place. What a name holds is not looked at again.
fn fill(scene: &Scene, found: &Found, template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(&value(scene, found, name));
        rest = behind;
    }
    text.push_str(rest);
    text
}

fn value(scene: &Scene, found: &Found, name: &str) -> String {
    match name {
        "client" => return scene.ends[0].name.clone(),
        "server" => return scene.ends[1].name.clone(),
        "endpoint" => return scene.edge.server_endpoint.clone(),
        _ => {}
    }
    if let Some((_, value)) = found.names.iter().find(|(known, _)| *known == name) {
        return value.clone();
    }
    let number = found.numbers.iter().find(|number| number.name == name);
    number.map_or_else(|| "?".to_owned(), with_unit)
}

fn with_unit(number: &Number) -> String {
    let shown = |value: f64| match number.unit.as_str() {
        "us" if value >= 1e6 => format!("{:.1} s", value / 1e6),
        "us" if value >= 1e3 => format!("{:.1} ms", value / 1e3),
        "us" => format!("{value:.0} us"),
        "%" => format!("{value:.2} %"),
        _ => format!("{value:.0}"),
    };
    match (number.value, number.usual) {
        (Some(value), Some(usual)) => format!("{} (before: {})", shown(value), shown(usual)),
        (Some(value), None) => shown(value),
        (None, _) => "?".to_owned(),
    }
}

/// What a cause is where its numbers show it.
const fn shown(found: &Found) -> Said {
    match found.cause {
        Cause::HostSilent => [
            "{place} stopped reporting {silent_seconds} seconds before the end of the window: the \
             host, its network or its agent is down.",
            "{place} 在时间窗口结束前 {silent_seconds} 秒停止上报：主机、其网络或代理可能已停止。",
        ],
        Cause::NobodyListens => [
            "Nobody listens at {endpoint} any more.",
            "{endpoint} 上已没有进程监听。",
        ],
        Cause::Refused => [
            "{refused} of {attempts} attempts of {client} were answered with a reset.",
            "{client} 的 {attempts} 次连接尝试中有 {refused} 次被重置（RST）拒绝。",
        ],
        Cause::NoAnswer => [
            "{not_answered} of {attempts} attempts of {client} got no answer.",
            "{client} 的 {attempts} 次连接尝试中有 {not_answered} 次没有应答。",
        ],
        Cause::QueueFull => [
            "The accept queue at {endpoint} was full: {drops} packets were turned away; at most \
             {queue_most} waited, with a backlog of {backlog}.",
            "{endpoint} 的全连接队列已满：丢弃 {drops} 个报文；最多 {queue_most} 个连接等待，队列上限 {backlog}。",
        ],
        Cause::SlowOpening => [
            "One opening in a hundred takes {connect_latency_p99} or longer, with a round-trip \
             time of {rtt_p99}: SYNs or their answers are lost, or the server answers late.",
            "有百分之一的建连耗时达到 {connect_latency_p99}，而往返时延为 {rtt_p99}：SYN 或其应答丢失，或服务端应答迟缓。",
        ],
        Cause::NotArrived => [
            "{client} opened {client_opened} connections, {server} got {server_opened}: something \
             between answers in the server's place, or drops what it accepted.",
            "{client} 建立了 {client_opened} 个连接，{server} 只收到 {server_opened} 个：中间设备代替服务端应答，或在接受后丢弃。",
        ],
        Cause::ResetByServer => match found.form.as_bytes() {
            b"other" => [
                "{resets} of {connections} connections were reset from the server's side: by \
                 {server}, or by something between.",
                "{connections} 个连接中有 {resets} 个被服务端一侧重置：可能是 {server}，也可能是中间设备。",
            ],
            _ => [
                "{server} ended {resets} of {connections} connections with a reset.",
                "{server} 用重置（RST）结束了 {connections} 个连接中的 {resets} 个。",
            ],
        },
        Cause::ResetByClient => match found.form.as_bytes() {
            b"other" => [
                "{resets} of {connections} connections were reset from the client's side: by \
                 {client}, or by something between.",
                "{connections} 个连接中有 {resets} 个被客户端一侧重置：可能是 {client}，也可能是中间设备。",
            ],
            _ => [
                "{client} ended {resets} of {connections} connections with a reset.",
                "{client} 用重置（RST）结束了 {connections} 个连接中的 {resets} 个。",
            ],
        },
        Cause::ResetBetween => [
            "{resets_not_sent} of {resets_received} resets were sent by neither end: something \
             between made them.",
            "{resets_received} 个重置中有 {resets_not_sent} 个不是任何一端发出的：由中间设备产生。",
        ],
        Cause::LossToServer | Cause::LossToClient => lost(found),
        Cause::SlowPath => [
            "Round trips take longer: 95 % within {rtt_p95}.",
            "往返时延变长：95% 在 {rtt_p95} 以内。",
        ],
        Cause::Reordered => [
            "{out_of_order_of_segments_received} of segments arrive out of order, after loss or \
             over paths of different length.",
            "{out_of_order_of_segments_received} 的报文段乱序到达：由丢包或长度不同的路径造成。",
        ],
        Cause::ServerDoesNotRead => [
            "{server} does not read what it is sent: it closed its window {zero_windows} times.",
            "{server} 来不及读取数据：其接收窗口 {zero_windows} 次变为零。",
        ],
        Cause::ClientDoesNotRead => [
            "{client} does not read what it is sent: it closed its window {zero_windows} times.",
            "{client} 来不及读取数据：其接收窗口 {zero_windows} 次变为零。",
        ],
        Cause::DataLost => [
            "The agent of {place} lost data since it started ({lost}): numbers may be low.",
            "{place} 的代理自启动以来丢失过数据（{lost}）：数值可能偏低。",
        ],
        Cause::EndUnseen | Cause::HopUnseen | Cause::WeakEvidence => not_known(found),
    }
}

/// Where segments are lost.
const fn lost(found: &Found) -> Said {
    match found.form.as_bytes() {
        b"gateway" => [
            "{retransmits_of_segments_sent} of what {sender} sends to {receiver} is lost, and so \
             is what passes {gateway} for others: it is lost there.",
            "{sender} 发往 {receiver} 的报文有 {retransmits_of_segments_sent} 丢失，经过 {gateway} 的其他流量同样丢包：丢包发生在该网关。",
        ],
        b"network" => [
            "{retransmits_of_segments_sent} of what {sender} sends to {receiver} is lost; both \
             also lose with others: the network that they share loses it.",
            "{sender} 发往 {receiver} 的报文有 {retransmits_of_segments_sent} 丢失；双方与其他主机之间也丢包：共用的网络丢包。",
        ],
        b"sender" => [
            "{retransmits_of_segments_sent} of what {sender} sends to {receiver} is lost, and so \
             is what its host sends to others: it is lost near {sender}.",
            "{sender} 发往 {receiver} 的报文有 {retransmits_of_segments_sent} 丢失，该主机发往其他主机的报文同样丢失：丢包靠近 {sender}。",
        ],
        b"receiver" => [
            "{retransmits_of_segments_sent} of what {sender} sends to {receiver} is lost, and so \
             is what others send to its host: it is lost near {receiver}.",
            "{sender} 发往 {receiver} 的报文有 {retransmits_of_segments_sent} 丢失，其他主机发往该主机的报文同样丢失：丢包靠近 {receiver}。",
        ],
        b"between" => [
            "{retransmits_of_segments_sent} of what {sender} sends to {receiver} is lost; with \
             others, neither loses: it is lost on the way between these two.",
            "{sender} 发往 {receiver} 的报文有 {retransmits_of_segments_sent} 丢失；双方与其他主机之间不丢包：丢包发生在两者之间的路径上。",
        ],
        b"somewhere" => [
            "{retransmits_of_segments_sent} of what {sender} sends to {receiver} is lost; too \
             little else is sent to say where.",
            "{sender} 发往 {receiver} 的报文有 {retransmits_of_segments_sent} 丢失；其他流量太少，无法判断位置。",
        ],
        _ => match found.cause {
            Cause::LossToServer => [
                "{retransmits_of_segments_sent} of what {client} sends is sent again: too little \
                 to be felt, or to say more.",
                "{client} 发送的报文有 {retransmits_of_segments_sent} 被重传：不足以影响业务，也不足以进一步判断。",
            ],
            _ => [
                "{retransmits_of_segments_sent} of what {server} sends is sent again: too little \
                 to be felt, or to say more.",
                "{server} 发送的报文有 {retransmits_of_segments_sent} 被重传：不足以影响业务，也不足以进一步判断。",
            ],
        },
    }
}

/// What a cause is not, by its numbers.
const fn not_so(cause: Cause) -> Said {
    match cause {
        Cause::NobodyListens => ["Somebody listens at {endpoint}.", "{endpoint} 上有进程监听。"],
        Cause::Refused => [
            "None of {attempts} attempts was refused.",
            "{attempts} 次连接尝试均未被拒绝。",
        ],
        Cause::NoAnswer => [
            "Each of {attempts} attempts was answered.",
            "{attempts} 次连接尝试均得到应答。",
        ],
        Cause::QueueFull => [
            "The accept queue turned nothing away.",
            "全连接队列没有丢弃任何报文。",
        ],
        Cause::SlowOpening => [
            "Connections open as fast as ever: 99 % within {connect_latency_p99}.",
            "建连速度正常：99% 在 {connect_latency_p99} 以内。",
        ],
        Cause::NotArrived => [
            "What the client opened reached the server.",
            "客户端建立的连接都到达了服务端。",
        ],
        Cause::ResetByServer => ["The server reset nothing.", "服务端没有重置连接。"],
        Cause::ResetByClient => ["The client reset nothing.", "客户端没有重置连接。"],
        Cause::ResetBetween => [
            "Each reset was sent by an end.",
            "所有重置均由某一端发出。",
        ],
        Cause::LossToServer => [
            "What {client} sends arrives.",
            "{client} 发送的报文均已到达。",
        ],
        Cause::LossToClient => [
            "What {server} sends arrives.",
            "{server} 发送的报文均已到达。",
        ],
        Cause::SlowPath => [
            "Round trips are as fast as before: 95 % within {rtt_p95}.",
            "往返时延与此前相同：95% 在 {rtt_p95} 以内。",
        ],
        Cause::Reordered => ["Segments arrive in order.", "报文段按序到达。"],
        Cause::ServerDoesNotRead => ["The server reads what it is sent.", "服务端及时读取数据。"],
        Cause::ClientDoesNotRead => ["The client reads what it is sent.", "客户端及时读取数据。"],
        Cause::HostSilent
        | Cause::EndUnseen
        | Cause::HopUnseen
        | Cause::DataLost
        | Cause::WeakEvidence => ["It is as it should be.", "一切正常。"],
    }
}

/// Why nobody can judge a cause.
const fn not_known(found: &Found) -> Said {
    match found.cause {
        Cause::NobodyListens | Cause::QueueFull => [
            "Whether the accept queue at {endpoint} was full: no agent tells of its listener.",
            "{endpoint} 的全连接队列是否已满：没有代理上报该监听。",
        ],
        Cause::Refused => [
            "Whether attempts are refused: nobody counted any at the client.",
            "连接尝试是否被拒绝：客户端没有相关计数。",
        ],
        Cause::NoAnswer => [
            "Whether attempts stay without an answer: nobody counted any at the client.",
            "连接尝试是否没有应答：客户端没有相关计数。",
        ],
        Cause::SlowOpening => [
            "Whether connections open slowly: nobody measured it, or there is nothing to compare \
             with.",
            "建连是否变慢：没有测量，或没有可比较的数据。",
        ],
        Cause::NotArrived => [
            "Whether all connections reached the server: what both ends counted is an estimate.",
            "连接是否都到达服务端：两端的计数为估计值。",
        ],
        Cause::ResetByServer => [
            "Whether the server resets connections: neither end can tell.",
            "服务端是否重置连接：两端均无法得知。",
        ],
        Cause::ResetByClient => [
            "Whether the client resets connections: neither end can tell.",
            "客户端是否重置连接：两端均无法得知。",
        ],
        Cause::ResetBetween => [
            "Whether something between resets connections: only one end counts resets.",
            "中间设备是否重置连接：只有一端统计重置。",
        ],
        Cause::LossToServer => [
            "Whether what {client} sends is lost: nobody counts it there.",
            "{client} 发送的报文是否丢失：该端没有计数。",
        ],
        Cause::LossToClient => [
            "Whether what {server} sends is lost: nobody counts it there.",
            "{server} 发送的报文是否丢失：该端没有计数。",
        ],
        Cause::SlowPath => match found.form.as_bytes() {
            b"no_usual" => [
                "Whether round trips take longer than usual: 95 % take up to {rtt_p95}, and there \
                 is nothing before to compare with.",
                "往返时延是否变长：95% 在 {rtt_p95} 以内，但没有此前的数据可比较。",
            ],
            _ => [
                "Whether round trips take longer than usual: nobody measured them.",
                "往返时延是否变长：没有测量。",
            ],
        },
        Cause::Reordered => [
            "Whether segments arrive in order: nobody counts it.",
            "报文段是否按序到达：没有计数。",
        ],
        Cause::ServerDoesNotRead => [
            "Whether the server reads what it is sent: nobody counts zero windows at the client.",
            "服务端是否及时读取数据：客户端没有零窗口计数。",
        ],
        Cause::ClientDoesNotRead => [
            "Whether the client reads what it is sent: nobody counts zero windows at the server.",
            "客户端是否及时读取数据：服务端没有零窗口计数。",
        ],
        Cause::EndUnseen => [
            "What happens at {place}: {why}.",
            "{place} 上发生了什么：没有可用的代理数据（{why}）。",
        ],
        Cause::HopUnseen => [
            "What happens where the addresses change on the way: nobody reports from there.",
            "地址在途中被改写之处发生了什么：那里没有代理。",
        ],
        Cause::WeakEvidence => [
            "Whether both sides are of the same connections: the confidence is {confidence}.",
            "两侧是否属于同一批连接：置信度为 {confidence}。",
        ],
        Cause::HostSilent | Cause::DataLost => ["Nothing is known.", "未知。"],
    }
}

/// What to look at next.
const fn next(cause: Cause) -> Said {
    match cause {
        Cause::HostSilent => [
            "Look whether the host answers, then at its agent (`systemctl status waybill-agent`).",
            "检查主机是否可达，再检查代理（`systemctl status waybill-agent`）。",
        ],
        Cause::NobodyListens => [
            "Look why the process at {endpoint} ended: its unit, its log, the kernel's (OOM).",
            "检查 {endpoint} 的进程为何退出：服务单元、日志、内核日志（OOM）。",
        ],
        Cause::Refused => [
            "Look whether the process listens at {endpoint} and on which address, then for a \
             firewall that rejects.",
            "检查进程是否在 {endpoint} 监听及监听地址，再检查拒绝连接的防火墙。",
        ],
        Cause::NoAnswer => [
            "Look for a firewall that drops, a route that is missing, or a host that is down on \
             the way to {endpoint}.",
            "检查通往 {endpoint} 途中是否有丢弃报文的防火墙、缺失的路由或宕机的主机。",
        ],
        Cause::QueueFull => [
            "Look why {server} accepts slowly; a larger backlog (listen, net.core.somaxconn) only \
             helps against short peaks.",
            "检查 {server} 为何接受连接缓慢；增大队列上限（listen、net.core.somaxconn）只能应对短时高峰。",
        ],
        Cause::SlowOpening => [
            "Look at the loss in both directions and at the queues of the listener.",
            "检查两个方向的丢包和监听队列。",
        ],
        Cause::NotArrived => [
            "Look at what stands between: a proxy, a SYN proxy, a load balancer without backends.",
            "检查中间设备：代理、SYN 代理、没有后端的负载均衡。",
        ],
        Cause::ResetByServer => [
            "Look at the log of {server} at the times of the connections that broke.",
            "按异常连接的时间查看 {server} 的日志。",
        ],
        Cause::ResetByClient => [
            "Look at the timeouts of {client}: it may give up what takes too long.",
            "检查 {client} 的超时设置：可能放弃了耗时过长的连接。",
        ],
        Cause::ResetBetween => [
            "Look at firewalls and load balancers on the way: idle timeouts, full tables, policies.",
            "检查途中的防火墙和负载均衡：空闲超时、表项已满、策略。",
        ],
        Cause::LossToServer | Cause::LossToClient => [
            "Look at drops of interfaces and queues where it is lost, and for a limit of bandwidth.",
            "检查丢包处的网卡和队列丢弃计数，以及带宽限制。",
        ],
        Cause::SlowPath => [
            "Look for full queues or another route on the way.",
            "检查途中是否有队列积压或路由变化。",
        ],
        Cause::Reordered => [
            "Look for loss, then for paths that share the load packet by packet.",
            "先检查丢包，再检查逐包分担负载的路径。",
        ],
        Cause::ServerDoesNotRead => [
            "Look at what {server} waits for: CPU, disk, locks, its own backends.",
            "检查 {server} 在等待什么：CPU、磁盘、锁或其后端。",
        ],
        Cause::ClientDoesNotRead => [
            "Look at what {client} waits for: CPU, disk, locks.",
            "检查 {client} 在等待什么：CPU、磁盘、锁。",
        ],
        Cause::DataLost => [
            "Look at the drops of {place} in the fleet.",
            "在主机列表中查看 {place} 的丢弃计数。",
        ],
        Cause::EndUnseen | Cause::HopUnseen | Cause::WeakEvidence => [
            "Look in the fleet which hosts have no agent.",
            "在主机列表中查看哪些主机没有代理。",
        ],
    }
}
