//! The table of exit codes, as documented.

pub use program::exit::*;

#[cfg(test)]
mod tests {
    use super::Exit;
    use crate::cli::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_documented_table_has_these_codes_and_no_other() {
        let text = include_str!("../../docs/OPERATIONS.md");
        let (_, table) = text.split_once("## Exit codes").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let documented: Vec<u8> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
            .collect();
        let codes = [
            Exit::Ok,
            Exit::Runtime,
            Exit::Usage,
            Exit::Jail,
            Exit::Store,
            Exit::Differs,
            Exit::Alerting,
        ];
        assert_eq!(documented, codes.map(|code| code as u8));
        let help = Cli::command().render_help().to_string();
        // The agent compares nothing and knows of no alert.
        let others = [Exit::Differs as u8, Exit::Alerting as u8];
        let own = documented.into_iter().filter(|code| !others.contains(code));
        for code in own {
            assert!(help.contains(&format!(" {code} ")), "{code} in {help}");
        }
    }
}
