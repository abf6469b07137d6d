//! How wide a text is, and how it is made to fit.

/// How many columns of a monospaced font a character takes, and rather too many than too few.
fn columns(c: char) -> usize {
    match c {
        '\u{2000}'..='\u{2bff}' => 1,
        c if c >= '\u{1100}' => 2,
        _ => 1,
    }
}

pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The beginning and the end of a text that is too long: names and paths often differ in the end alone.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let end = fitting(text.chars().rev(), room / 2);
    let start = fitting(
        text.chars(),
        room - end.iter().copied().map(columns).sum::<usize>(),
    );
    let mut short: String = start.into_iter().collect();
    short.push('…');
    short.extend(end.into_iter().rev());
    short
}

fn fitting(text: impl Iterator<Item = char>, mut room: usize) -> Vec<char> {
    text.map_while(|c| {
        room = room.checked_sub(columns(c))?;
        Some(c)
    })
    .collect()
}

/// One line, or two that part at a space; what is longer is cut.
pub(super) fn wrap(text: &str, most: usize) -> Vec<String> {
    if width(text) <= most {
        return vec![text.to_owned()];
    }
    let first: usize = fitting(text.chars(), most + 1)
        .into_iter()
        .map(char::len_utf8)
        .sum();
    match text[..first].rfind(' ') {
        Some(space) if space > 0 => {
            vec![
                text[..space].to_owned(),
                cut(text[space..].trim_start(), most),
            ]
        }
        _ => vec![cut(text, most)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(cut("connection-12345", 9), "conn…2345");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("too long", 1), "…");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("接続接続接続", 7), "接続…続");
        assert_eq!(cut("接続接続接続", 6), "接…続");
    }

    #[test]
    fn a_label_is_parted_at_a_space() {
        assert_eq!(
            wrap("holds, taken at src/net/conn.rs:41", 20),
            ["holds, taken at", "src/net/conn.rs:41"]
        );
        assert_eq!(wrap("holds", 20), ["holds"]);
        assert_eq!(wrap("nospaceanywhereinthis", 9), ["nosp…this"]);
    }
}
