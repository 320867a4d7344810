//! Where a stack's state lies: in its folder, or in the bucket that the stack file names.

use std::path::Path;

use super::{error::CliError, exit::Exit};
use crate::{
    model::{S3Model, StackModel},
    state::{FileStore, SharedStore},
};

/// The store of a stack. `token` is unique to this run.
pub(super) async fn store(
    model: &StackModel,
    folder: &Path,
    token: String,
) -> Result<Box<dyn SharedStore>, CliError> {
    match &model.state {
        None => Ok(Box::new(FileStore::new(folder.to_owned(), &model.name))),
        Some(bucket) => remote(bucket, &model.name, token).await,
    }
}

/// A state that would be forgotten: the folder has one, and the bucket that the stack file names now has none.
pub(super) fn left_behind(model: &StackModel, folder: &Path) -> Result<(), CliError> {
    let (Some(bucket), path) = (&model.state, folder.join("state.json")) else {
        return Ok(());
    };
    if !path.exists() {
        return Ok(());
    }
    let S3Model { bucket, key, .. } = bucket;
    let name = &model.name;
    let from = folder.display();
    if std::fs::metadata(folder.join("journal.ndjson")).is_ok_and(|journal| journal.len() > 0) {
        return Err(CliError::new(
            Exit::Refused,
            format!("the state of {name} is in {from}, with a run that did not end, and the bucket that the stack file names has none"),
        )
        .hint("take state out of the stack file and end that run with 'stackup apply' or 'stackup destroy'; then the state can be moved"));
    }
    Err(CliError::new(
        Exit::Refused,
        format!("the state of {name} is in {from}, and the bucket that the stack file names has none"),
    )
    .hint(format!(
        "to move it: aws s3 cp {from}/state.json s3://{bucket}/{key}/state.json && aws s3 cp {from}/key s3://{bucket}/{key}/key && rm {from}/state.json {from}/key"
    ))
    .hint("to keep it where it is, take state out of the stack file"))
}

#[cfg(feature = "aws")]
async fn remote(model: &S3Model, stack: &str, token: String) -> Result<Box<dyn SharedStore>, CliError> {
    Ok(Box::new(crate::aws::S3Store::new(model, stack, token).await?))
}

/// Makes the bucket, or looks at it; what to tell of it.
#[cfg(feature = "aws")]
pub(super) async fn make_bucket(model: &S3Model, mend: bool) -> Result<String, CliError> {
    let name = &model.bucket;
    let bucket = crate::aws::make_bucket(model, mend).await.map_err(|error| {
        let mut told = CliError::from(error);
        told.message = format!("could not set up the bucket {name}: {}", told.message);
        told
    })?;
    if !bucket.lacks.is_empty() {
        let mut error = CliError::new(
            Exit::Refused,
            format!("the bucket {name} is there, and is not as a bucket for state should be"),
        )
        .hint("set that yourself, or have it set with 'stackup state init --mend'");
        error.causes = bucket.lacks.iter().map(ToString::to_string).collect();
        return Err(error);
    }
    Ok(match (bucket.made, bucket.mended.len()) {
        (true, _) => format!("Made the bucket {name}: private, versioned, encrypted, with TLS only."),
        (false, 0) => format!("The bucket {name} is private, versioned, encrypted, with TLS only."),
        (false, count) => format!(
            "Mended the bucket {name} in {count} of 4 points: private, versioned, encrypted, with TLS only."
        ),
    })
}

#[cfg(not(feature = "aws"))]
async fn remote(_: &S3Model, _: &str, _: String) -> Result<Box<dyn SharedStore>, CliError> {
    std::future::ready(Err(without())).await
}

#[cfg(not(feature = "aws"))]
pub(super) async fn make_bucket(_: &S3Model, _: bool) -> Result<String, CliError> {
    std::future::ready(Err(without())).await
}

#[cfg(not(feature = "aws"))]
fn without() -> CliError {
    CliError::new(
        Exit::Usage,
        "the stack file keeps its state in a bucket (state.s3), and this build of stackup has no AWS in it",
    )
    .hint("build it with all features: cargo build --release")
}
