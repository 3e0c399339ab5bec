//! What `--json` prints keeps to `docs/json.schema.json`. The helpers of all tests look at every line by it.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{fs, io::Write};

use serde_json::Value;

use crate::small::Small;
use crate::{demo, json, magpie};

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| serde_json::from_str(include_str!("../../../docs/json.schema.json")).unwrap())
}

/// Checks a value against a definition of the schema: those keywords that the schema uses.
pub(crate) fn check(value: &Value, definition: &str) {
    let rule = &schema()["$defs"][definition];
    assert!(rule.is_object(), "the schema says nothing of '{definition}'");
    if let Err(fault) = fault(value, rule, definition) {
        panic!("{fault}: {value}");
    }
}

fn fault(value: &Value, rule: &Value, at: &str) -> Result<(), String> {
    let Some(rule) = rule.as_object() else { return Ok(()) };
    for (keyword, wanted) in rule {
        let right = match keyword.as_str() {
            "$ref" => {
                let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                fault(value, &schema()["$defs"][name], at)?;
                true
            }
            "const" => value == wanted,
            "type" => match wanted {
                Value::Array(kinds) => kinds.iter().any(|kind| is(value, kind.as_str().unwrap())),
                kind => is(value, kind.as_str().unwrap()),
            },
            "required" => wanted.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, rule) in wanted.as_object().unwrap() {
                    value.get(name).map_or(Ok(()), |value| fault(value, rule, &format!("{at}.{name}")))?;
                }
                true
            }
            "additionalProperties" => {
                let known = rule.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        if wanted == &Value::Bool(false) {
                            return Err(format!("{at}.{name} is not in the schema"));
                        }
                        fault(value, wanted, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "items" => {
                for (place, value) in value.as_array().into_iter().flatten().enumerate() {
                    fault(value, wanted, &format!("{at}[{place}]"))?;
                }
                true
            }
            "description" => true,
            other => panic!("the check does not know the keyword '{other}'"),
        };
        if !right {
            return Err(format!("{at} is not as {keyword} {wanted} wants it"));
        }
    }
    Ok(())
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no kind '{other}'"),
    }
}

#[test]
fn the_check_of_the_schema_finds_what_is_wrong() {
    let sound = serde_json::json!({"schema_version": 1, "error": {"code": 2, "message": "x", "hint": null}});
    check(&sound, "error");
    let rule = &schema()["$defs"]["error"];
    for (pointer, wrong) in [
        ("/schema_version", Value::from(2)),
        ("/error/code", Value::from("2")),
        ("/error/hint", Value::from(1)),
        ("/error", serde_json::json!({"code": 2, "message": "x"})),
        ("/error", serde_json::json!({"code": 2, "message": "x", "hint": null, "more": 1})),
    ] {
        let mut value = sound.clone();
        *value.pointer_mut(pointer).unwrap() = wrong;
        assert!(fault(&value, rule, "error").is_err(), "{pointer}");
    }
}

/// What a command that fails prints as JSON to standard error, which is one line.
fn failed(args: &[&str], code: i32) -> Value {
    let output = magpie(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    check(&value, "error");
    assert_eq!(value["error"]["code"], code);
    value["error"].clone()
}

#[test]
fn failures_are_json_where_the_result_would_be() {
    let shard = Small::get().shard();
    let error = failed(&["inspect", "/no/such/shard", "--json"], 1);
    assert!(error["message"].as_str().unwrap().contains("/no/such/shard"), "{error}");
    // Options that cannot be parsed, and options that parse but cannot be used.
    let error = failed(&["search", "--json", "--k", "none"], 2);
    assert!(error["message"].as_str().unwrap().contains("'none'"), "{error}");
    assert_eq!(error["hint"], "try --help");
    let photo = demo("photos/mug-01-1.jpg");
    let search = ["search", "--shard", &shard, "--photo", photo.to_str().unwrap(), "--json"];
    assert!(failed(&[&search[..], &["--where", "price<"]].concat(), 2)["hint"].is_string());
    failed(&["search", "--shard", &shard, "--photo", "/dev/null/x.jpg", "--json"], 1);
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let said = |args: &[&str]| {
        let output = magpie(args);
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        assert!(script.contains("near-duplicates") && script.contains("publish"), "{shell}");
    }
    let page = said(&["man"]);
    assert!(page.contains(".TH magpie 1") && page.contains("magpie\\-search"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    said(&["man", "--out", folder.path().to_str().unwrap()]);
    let page = fs::read_to_string(folder.path().join("magpie-search.1")).unwrap();
    assert!(page.contains("near\\-duplicates"), "{page}");
}

/// Runs a command that succeeds with something on standard input; returns what it prints.
fn piped(args: &[&str], input: &[u8]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpie"));
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let value = serde_json::from_slice(&output.stdout).unwrap();
    check(&value, args[0]);
    value
}

#[test]
fn tables_photos_and_lists_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (shard, rows, photos) = (path("out.magpie"), path("rows.npy"), demo("photos"));
    let feed = "<rss><channel><item><g:id>m1</g:id><title>Mug</title><g:image_link>mug-01-1.jpg</g:image_link></item>\
                <item><g:id>m2</g:id><g:image_link>mug-02-1.jpg</g:image_link></item></channel></rss>";
    let build = ["build", "--catalog", "-", "--images", photos.to_str().unwrap(), "--out", &shard, "--json"];
    let built = piped(&build, feed.as_bytes());
    assert_eq!((&built["listings"], &built["photos"]), (&Value::from(2), &Value::from(2)), "{built}");
    assert_eq!(json(&["inspect", &shard, "--json"])["catalog"], "catalog");
    let photo = fs::read(photos.join("mug-01-1.jpg")).unwrap();
    let found = piped(&["search", "--shard", &shard, "--photo", "-", "--json"], &photo);
    assert_eq!(found["listings"][0]["fields"]["title"], "Mug", "{found}");
    let list = photos.join("mug-01-1.jpg").to_str().unwrap().to_owned();
    assert_eq!(piped(&["embed", "--list", "-", "--out", &rows, "--json"], list.as_bytes())["rows"], 1);
}
