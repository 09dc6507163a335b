//! The page of a program: its commands as clap knows them.

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

use crate::roff::{plain, title};

/// Where the generated list of commands goes in what is written by hand.
const COMMANDS: &str = ".SH COMMANDS\n";

/// The page of a program, with sections that people wrote.
///
/// # Errors
/// When those have no place for the commands.
pub(crate) fn page(program: Command, by_hand: &str, date: &str) -> Result<String> {
    let name = program.get_name().to_owned();
    let mut program = quiet(program);
    program.build();
    let (before, after) = by_hand
        .split_once(COMMANDS)
        .with_context(|| format!("{name}: no line {COMMANDS:?}"))?;
    let about = program.get_about().map(ToString::to_string);
    let about = about.unwrap_or_default();
    let about = about.split_once(": ").map_or(&*about, |(_, about)| about);
    let mut page = title(&name, 8, date);
    page += &format!(
        ".SH NAME\n{} \\- {}\n",
        plain(&name),
        plain(about.trim_end_matches('.'))
    );
    let mut commands = Vec::new();
    collect(&program, &mut commands);
    page += ".SH SYNOPSIS\n";
    for (at, command) in commands.iter().enumerate() {
        page += if at > 0 { ".br\n" } else { "" };
        page += &synopsis(command)?;
    }
    page += before;
    page += COMMANDS;
    for command in &commands {
        page += &described(command)?;
    }
    if let Some(help) = program.get_after_help() {
        let help = help.to_string();
        let examples = help.split("\n\n").next().unwrap_or_default();
        if let Some((_, lines)) = examples.split_once("Examples:\n") {
            page += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", plain(lines));
        }
    }
    Ok(page + after)
}

/// Without `--help` on every command, which one sentence says.
fn quiet(command: Command) -> Command {
    let subcommands: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    let mut command = command
        .disable_help_flag(true)
        .disable_help_subcommand(true);
    for name in subcommands {
        command = command.mut_subcommand(name, quiet);
    }
    command
}

/// Commands that do something, in the order of the help.
fn collect<'a>(command: &'a Command, into: &mut Vec<&'a Command>) {
    if command.has_subcommands() {
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        for sub in visible {
            collect(sub, into);
        }
    } else {
        into.push(command);
    }
}

/// One of clap's sections without its heading.
fn section(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<String> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    // The string is one of a preamble that the page has not.
    let text = String::from_utf8(bytes)?.replace("\\*(Aq", "\\(aq");
    // The preamble of the crate, and the heading.
    let lines = text.lines().filter(|line| {
        !line.starts_with(".SH ") && !line.starts_with(".ie ") && !line.starts_with(".el ")
    });
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

fn synopsis(command: &Command) -> Result<String> {
    let man = Man::new(command.clone());
    section(|out| man.render_synopsis_section(out))
}

fn described(command: &Command) -> Result<String> {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let man = Man::new(command.clone());
    let about = section(|out| man.render_description_section(out))?;
    let options = section(|out| man.render_options_section(out))?;
    Ok(format!(".SS {}\n{about}{options}", plain(name)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::page;

    fn made(program: clap::Command) -> String {
        let by_hand = ".SH DESCRIPTION\nx\n.SH COMMANDS\n.SH FILES\ny\n";
        page(program, by_hand, "2001-02-03").expect("a page")
    }

    /// Every command and every option of a command line.
    fn names(command: &clap::Command, into: &mut Vec<String>) {
        for argument in command.get_arguments().filter(|one| !one.is_hide_set()) {
            if let Some(long) = argument.get_long() {
                into.push(format!("--{long}").replace('-', "\\-"));
            }
        }
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            into.push(sub.get_name().replace('-', "\\-"));
            names(sub, into);
        }
    }

    #[test]
    fn every_command_and_option_is_on_the_page_of_its_program() {
        for program in [agent::cli::Cli::command(), collector::cli::Cli::command()] {
            let page = made(program.clone());
            let mut all = Vec::new();
            names(&program, &mut all);
            assert!(all.len() > 15, "{all:?}");
            for name in all {
                assert!(page.contains(&name), "{name} is not in {page}");
            }
        }
    }

    #[test]
    fn a_page_has_a_date_and_what_people_wrote_around_the_commands() {
        let page = made(agent::cli::Cli::command());
        assert!(
            page.starts_with(".TH WAYBILL\\-AGENT 8 2001-02-03 "),
            "{page}"
        );
        let at = |what: &str| page.find(what).expect(what);
        assert!(at(".SH DESCRIPTION") < at(".SS waybill\\-agent export"));
        assert!(at(".SS waybill\\-agent receipt") < at(".SH FILES"));
        assert!(page.contains(".SS waybill\\-agent spool stat"));
    }

    #[test]
    fn words_without_a_place_for_commands_are_refused() {
        assert!(page(agent::cli::Cli::command(), ".SH FILES\n", "2001-02-03").is_err());
    }
}
