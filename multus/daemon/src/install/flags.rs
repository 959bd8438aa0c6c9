//! Command lines as Go programs read them.

use std::ffi::OsString;

use lexopt::ValueExt as _;

/// `-name` and `-name=value` become `--name` and `--name=value`: Go's `flag` takes both, and upstream's manifests use both. A short flag stays.
pub(super) fn go_style(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    args.into_iter().map(with_two_dashes).collect()
}

fn with_two_dashes(arg: OsString) -> OsString {
    let is_long = arg.to_str().and_then(|text| text.strip_prefix('-')).is_some_and(|rest| {
        let name = rest.split('=').next().unwrap_or_default();
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        name.len() > 1 && !name.starts_with('-') && name.bytes().all(is_name)
    });
    if !is_long {
        return arg;
    }
    let mut long = OsString::from("-");
    long.push(arg);
    long
}

/// The value of a flag.
pub(super) fn text(parser: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    parser.value()?.string()
}

/// The value of a switch: true without one.
pub(super) fn is_on(parser: &mut lexopt::Parser) -> Result<bool, lexopt::Error> {
    let Some(value) = parser.optional_value() else { return Ok(true) };
    let value = value.string()?;
    match value.as_str() {
        // The texts that Go's ParseBool takes.
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("{value:?} is neither true nor false").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_flags_with_one_dash_get_a_second() {
        for (given, read) in [
            ("-cni-version=0.3.1", "--cni-version=0.3.1"),
            ("-config", "--config"),
            ("--type", "--type"),
            ("-d", "-d"),
            ("-d=/x", "-d=/x"),
            ("-d/host", "-d/host"),
            ("-", "-"),
            ("value", "value"),
        ] {
            assert_eq!(go_style([OsString::from(given)]), [OsString::from(read)]);
        }
    }

    #[test]
    fn a_switch_is_read_as_in_go() {
        let read = |arg: &str| {
            let mut parser = lexopt::Parser::from_args([arg]);
            parser.next().unwrap();
            is_on(&mut parser)
        };
        assert!(read("--x").unwrap() && read("--x=true").unwrap() && read("--x=1").unwrap());
        assert!(!read("--x=false").unwrap());
        assert!(read("--x=yes").unwrap_err().to_string().contains("\"yes\" is neither true nor false"));
    }
}
