//! Amounts of money as feeds write them.

/// An amount as a plain number, and the currency that stands beside it.
#[derive(Debug, PartialEq)]
pub(crate) struct Amount {
    pub(crate) number: String,
    pub(crate) currency: Option<String>,
}

/// Reads an amount: `18.00 EUR`, `EUR 18`, `€18,50`, `$1,299.00`, `1.234,56`, `1 234,56`, `1'234.50`. `None` if the text
/// is something else.
pub(crate) fn amount(text: &str) -> Option<Amount> {
    let text = text.trim().replace(['\u{a0}', '\u{202f}'], " ");
    let first = text.find(|c: char| c.is_ascii_digit())?;
    let last = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (before, digits, after) = (&text[..first], &text[first..last], text[last..].trim());
    // A sign, or a decimal point without a digit before it, belongs to the number.
    let negative = before.ends_with('-');
    let point = before.ends_with(['.', ',']);
    let before = before.trim_end_matches(['-', '.', ',']).trim();
    let mark = match (before, after) {
        ("", after) => after,
        (before, "") => before,
        _ => return None,
    };
    let currency = match mark {
        "" => None,
        "€" => Some("EUR"),
        "£" => Some("GBP"),
        "¥" => Some("JPY"),
        // Dollars and crowns are of several countries.
        "$" | "kr" | "kr." => None,
        code if code.len() == 3 && code.bytes().all(|b| b.is_ascii_alphabetic()) => Some(code),
        _ => return None,
    };
    let number = if point { format!("0.{}", plain(digits).filter(|n| !n.contains('.'))?) } else { plain(digits)? };
    let number = if negative { format!("-{number}") } else { number };
    Some(Amount { number, currency: currency.map(str::to_uppercase) })
}

/// Digits with a decimal sign and separators of thousands, as a plain number.
fn plain(digits: &str) -> Option<String> {
    let is_separator = |c: char| matches!(c, '.' | ',' | ' ' | '\'' | '’');
    if !digits.chars().all(|c| c.is_ascii_digit() || is_separator(c)) {
        return None;
    }
    let Some(at) = digits.rfind(is_separator) else { return Some(digits.to_owned()) };
    let last = digits[at..].chars().next()?;
    let (whole, rest) = (&digits[..at], &digits[at + last.len_utf8()..]);
    let same_before = whole.contains(last);
    // The last separator is the decimal sign, unless it has been used before or cannot be one. `1,299` has thousands,
    // `1.299` is a number with three decimals: only the point is a decimal sign in programs.
    let decimal = matches!(last, '.' | ',') && !same_before && (last == '.' || rest.len() != 3 || whole == "0");
    let groups = if decimal { whole } else { digits };
    let separators: Vec<char> = groups.chars().filter(|c| is_separator(*c)).collect();
    let grouped = groups.split(is_separator).skip(1).all(|group| group.len() == 3);
    if !grouped || separators.windows(2).any(|pair| pair[0] != pair[1]) || (decimal && separators.contains(&last)) {
        return None;
    }
    let whole: String = groups.chars().filter(char::is_ascii_digit).collect();
    Some(if decimal { format!("{whole}.{rest}") } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_read() {
        for (text, number, currency) in [
            ("18", "18", None),
            (" 7 ", "7", None),
            ("18.00 EUR", "18.00", Some("EUR")),
            ("usd 18", "18", Some("USD")),
            ("€18,50", "18.50", Some("EUR")),
            ("1.234,56", "1234.56", None),
            ("$1,299.00", "1299.00", None),
            ("1,299", "1299", None),
            ("1,299,000", "1299000", None),
            ("1 234,56 €", "1234.56", Some("EUR")),
            ("1\u{a0}234,5", "1234.5", None),
            ("1'234.50 CHF", "1234.50", Some("CHF")),
            ("-5.5", "-5.5", None),
            (".99", "0.99", None),
            ("0,125", "0.125", None),
            ("1.299", "1.299", None),
        ] {
            let expected = Amount { number: number.to_owned(), currency: currency.map(str::to_owned) };
            assert_eq!(amount(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_an_amount() {
        for text in
            ["", "POA", "from 18", "18 - 20", "2 for 10 EUR", "1,2,3", "12.34.56", "1,23.456,7", "3 pieces", "€ 5 EUR"]
        {
            assert_eq!(amount(text), None, "{text}");
        }
    }
}
