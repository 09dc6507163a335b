//! Text in the language of manual pages, man(7).

/// Text that is shown as it is.
pub(crate) fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let guarded = text.lines().map(|line| {
        if line.starts_with(['.', '\'']) {
            format!("\\&{line}")
        } else {
            line.to_owned()
        }
    });
    guarded.collect::<Vec<_>>().join("\n")
}

/// The first line of a page.
pub(crate) fn title(name: &str, section: u8, date: &str) -> String {
    let name = plain(&name.to_uppercase());
    format!(".TH {name} {section} {date} Waybill \"Waybill manual\"\n")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_in_a_text_is_taken_for_a_request() {
        assert_eq!(plain("a-b\\n\n.SH x\n'y"), "a\\-b\\en\n\\&.SH x\n\\&'y");
    }
}
