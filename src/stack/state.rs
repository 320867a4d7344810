use crate::model::S3Model;

use super::{
    reader::Reader,
    tree::{Node, Place},
};

/// The longest key of an object is 1,024 bytes; our own names under it need less than 40.
const LONGEST_KEY: usize = 900;

/// Reads `state`: where the state lies, if not in a folder beside the stack file.
pub(super) fn state(reader: &mut Reader, node: &Node, stack: &str, place: &Place) -> Option<S3Model> {
    let mut fields = reader.fields(node, "state", place)?;
    let hint = "as in state: {s3: {bucket: my-bucket}}; without state it lies in .stackup beside this file";
    let s3 = reader.required(&mut fields, "s3", hint);
    reader.finish(&fields, &[]);
    let mut own = reader.fields(s3?, "state.s3", fields.place_of("s3"))?;
    let bucket = reader.required(
        &mut own,
        "bucket",
        "the bucket's name; `stackup state init` makes it",
    );
    let bucket = bucket.and_then(|node| {
        let hint = "3 to 63 lower-case letters, digits, dots and dashes, a letter or digit first and last";
        checked(
            reader,
            node,
            "state.s3.bucket",
            "the name of a bucket",
            hint,
            is_bucket,
        )
    });
    let key = own.get("key").map(|node| {
        let hint = "letters, digits and !-_.*'() with single slashes between them, as in stacks/demo";
        checked(
            reader,
            node,
            "state.s3.key",
            "the beginning of a key",
            hint,
            is_key,
        )
    });
    let region = own.get("region").map(|node| {
        let hint = "as in eu-central-1";
        checked(reader, node, "state.s3.region", "a region", hint, is_region)
    });
    let kms_key = reader.optional(&mut own, "kmsKey");
    reader.finish(&own, &[]);
    Some(S3Model {
        bucket: bucket?,
        key: key.unwrap_or_else(|| Some(stack.to_owned()))?,
        region: region.flatten(),
        kms_key,
    })
}

fn checked(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    what: &str,
    hint: &str,
    fits: fn(&str) -> bool,
) -> Option<String> {
    let text = reader.text(node, path)?;
    if fits(&text) {
        return Some(text);
    }
    reader.wrong(
        &node.place,
        format!("{path} {} is not {what}", node.shown()),
        hint,
    );
    None
}

fn is_bucket(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(outer)
        && text.ends_with(outer)
        && !text.contains("..")
}

/// Characters that S3 calls safe, in parts that are neither empty nor dots only.
fn is_key(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(safe);
    text.len() <= LONGEST_KEY && text.split('/').all(part)
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] => {
            words.len() >= 2 && words.iter().all(word) && number.parse::<u8>().is_ok_and(|number| number > 0)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buckets_keys_and_regions_are_those_of_aws() {
        for (fits, good, bad) in [
            (
                is_bucket as fn(&str) -> bool,
                vec!["abc", "my.state-1"],
                vec!["ab", "Abc", "-abc", "abc-", "a..b", "a_b"],
            ),
            (
                is_key,
                vec!["demo", "stacks/demo.1", "a_b/c"],
                vec!["", "/a", "a/", "a//b", "a/../b", "a b", "a?b"],
            ),
            (
                is_region,
                vec!["eu-central-1", "us-gov-west-1"],
                vec![
                    "eu",
                    "eu-central",
                    "eu-central-1a",
                    "EU-central-1",
                    "-a-1",
                    "eu-central-0",
                ],
            ),
        ] {
            for text in good {
                assert!(fits(text), "{text}");
            }
            for text in bad {
                assert!(!fits(text), "{text}");
            }
        }
    }
}
