//! The file of tokens: who may use the server, for what, and until when.

use std::collections::HashMap;

/// Shortest token that is accepted, in bytes: shorter ones can be guessed.
const SHORTEST: usize = 16;
/// What stands before the hash of a token.
const HASHED: &str = "blake3:";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scopes {
    pub(crate) search: bool,
    pub(crate) admin: bool,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenLine {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// When it stops being valid, in Unix seconds.
    pub(crate) ends: Option<u64>,
}

/// The hash under which a token is known.
pub(crate) fn key(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Hashes a token for the token file, so that the file need not hold the token itself.
///
/// # Errors
/// That the token is too short, or not one word.
pub fn hash_token(token: &str) -> Result<String, String> {
    if token.split_whitespace().count() != 1 || token.len() < SHORTEST {
        return Err(format!("a token is one word of at least {SHORTEST} characters"));
    }
    Ok(format!("{HASHED}{}", blake3::hash(token.as_bytes()).to_hex()))
}

/// Parses a file of tokens: `NAME TOKEN [scope=search,admin] [expires=YYYY-MM-DD]`, where the token may be its hash. A word
/// that begins with `#` starts a comment.
///
/// # Errors
/// The line number, and what is wrong with the line; never the token.
pub(crate) fn parse(text: &str) -> Result<HashMap<[u8; 32], TokenLine>, String> {
    let mut lines: HashMap<[u8; 32], TokenLine> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |detail: &str| format!("line {number}: {detail}");
        // A token may contain `#`, but not begin with it.
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        let (name, token, options) = match &words[..] {
            [] => continue,
            [name, token, options @ ..] => (*name, *token, options),
            _ => return Err(wrong("expected a name and a token")),
        };
        let key = match token.strip_prefix(HASHED) {
            Some(hash) => *blake3::Hash::from_hex(hash)
                .map_err(|_| {
                    wrong("the hash of a token has 64 hexadecimal digits; magpie-server --hash-token writes it")
                })?
                .as_bytes(),
            None if token.len() < SHORTEST => {
                return Err(wrong(&format!("a token has at least {SHORTEST} characters")));
            }
            None => key(token),
        };
        let mut entry = TokenLine { name: name.to_owned(), scopes: Scopes { search: true, admin: false }, ends: None };
        for option in options {
            match option.split_once('=') {
                Some(("scope", scopes)) => entry.scopes = self::scopes(scopes).map_err(|e| wrong(&e))?,
                Some(("expires", date)) => {
                    let day = day(date).ok_or_else(|| wrong("expires: expected a date such as 2027-01-31"))?;
                    // The token is valid on that day.
                    entry.ends = Some((day + 1) * 86_400);
                }
                _ => return Err(wrong("after the token, expected scope=search,admin or expires=YYYY-MM-DD")),
            }
        }
        if let Some(other) = lines.insert(key, entry) {
            return Err(wrong(&format!("{name} has the token of {}; each needs its own", other.name)));
        }
    }
    match lines.is_empty() {
        true => Err("the file has no token".to_owned()),
        false => Ok(lines),
    }
}

fn scopes(text: &str) -> Result<Scopes, String> {
    let mut scopes = Scopes { search: false, admin: false };
    for word in text.split(',') {
        match word {
            "search" => scopes.search = true,
            "admin" => scopes.admin = true,
            _ => return Err("scope: expected search, admin, or both with a comma".to_owned()),
        }
    }
    Ok(scopes)
}

/// The number of days from 1970 to a date of the Gregorian calendar.
fn day(date: &str) -> Option<u64> {
    let mut fields = date.split('-');
    let mut field = |digits: usize| {
        let text = fields.next().filter(|text| text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse::<u64>().ok()
    };
    let (year, month, day) = (field(4)?, field(2)?, field(2)?);
    if fields.next().is_some() || year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = |month: u64| match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length(month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    Some(years + (1..month).map(length).sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_stands_for_its_token() {
        let hashed = hash_token("correct-horse-battery").expect("long enough");
        let plain = parse("ann correct-horse-battery").expect("a sound file");
        assert_eq!(parse(&format!("ann {hashed}")).expect("a sound file"), plain);
        assert!(hash_token("short").is_err() && hash_token("correct-horse battery").is_err());
    }

    #[test]
    fn scopes_and_dates_are_read() {
        let file = parse("ann correct-horse-battery scope=admin expires=2027-01-31 # hers\nbob staple-staple-staple");
        let file = file.expect("a sound file");
        let ann = &file[&key("correct-horse-battery")];
        assert_eq!((ann.scopes, ann.ends), (Scopes { search: false, admin: true }, Some(1_801_440_000)));
        let bob = &file[&key("staple-staple-staple")];
        assert_eq!((bob.scopes, bob.ends), (Scopes { search: true, admin: false }, None));
        for (date, days) in [("1970-01-01", Some(0)), ("2000-02-29", Some(11_016)), ("2100-02-28", Some(47_540))] {
            assert_eq!(day(date), days, "{date}");
        }
        for date in ["2027-02-29", "2100-02-29", "2027-13-01", "2027-00-01", "2027-01-00", "1969-12-31", "27-01-01"] {
            assert_eq!(day(date), None, "{date}");
        }
        for date in ["", "2027-01", "2027-01-01-01", "+027-01-01", "2027-1-1", "soon"] {
            assert_eq!(day(date), None, "{date}");
        }
    }

    #[test]
    fn faults_name_the_line_and_never_the_token() {
        let twice = "ann correct-horse-battery\nbob correct-horse-battery";
        let hashed =
            format!("ann correct-horse-battery\nbob {}", hash_token("correct-horse-battery").expect("a token"));
        for text in [
            "",
            "# nobody",
            "ann",
            "ann short",
            "ann correct-horse-battery extra",
            "ann #orrect-horse-battery",
            "ann blake3:abc",
            "ann correct-horse-battery scope=all",
            "ann correct-horse-battery expires=soon",
            twice,
            &hashed,
        ] {
            let fault = parse(text).expect_err("an invalid file");
            assert!(!fault.contains("short") && !fault.contains("horse"), "{fault}");
        }
    }
}
