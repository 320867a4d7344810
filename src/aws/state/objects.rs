use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
    types::ServerSideEncryption,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{DateTime, config_bag::ConfigBag, date_time::Format};
use tokio::time::{Instant, sleep};

use super::super::error::{Purpose, failed};
use crate::{
    model::S3Model,
    resource::{Cause, ResourceError},
    state::StateError,
};

/// How long a store that does not answer, or wants fewer calls, is asked again.
const BUDGET: Duration = Duration::from_secs(45);
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// When a write is to happen.
#[derive(Debug, Clone, Copy)]
pub(super) enum If<'a> {
    /// Nothing of that name is there.
    Absent,
    /// What is there still has this `ETag`.
    Same(&'a str),
}

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) bytes: Vec<u8>,
    pub(super) etag: String,
    /// How long ago it was written, by the clock of the store.
    pub(super) age: Option<Duration>,
}

/// The objects of one stack in a bucket.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    client: Client,
    bucket: String,
    prefix: String,
    kms_key: Option<String>,
}

impl Objects {
    pub(super) fn new(client: Client, model: &S3Model) -> Self {
        Self {
            client,
            bucket: model.bucket.clone(),
            prefix: format!("{}/", model.key),
            kms_key: model.kms_key.clone(),
        }
    }

    /// The object's name for people.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        format!("s3://{}/{}{name}", self.bucket, self.prefix).into()
    }

    /// Reads an object; `None` where there is none.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Object>, StateError> {
        let read = again(|| self.read(name)).await;
        read.map_err(|error| self.failed("read", name, error))
    }

    async fn read(&self, name: &str) -> Result<Option<Object>, ResourceError> {
        let date = StoreDate::default();
        let call = self.client.get_object().bucket(&self.bucket);
        let call = call.key(format!("{}{name}", self.prefix));
        let found = match call.customize().interceptor(date.clone()).send().await {
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(failed("s3:GetObject", Purpose::Read, &error)),
            Ok(found) => found,
        };
        let etag = found.e_tag().map(str::to_owned).ok_or_else(no_etag)?;
        let age = date.since(found.last_modified());
        let body = found.body.collect().await.map_err(|error| {
            ResourceError::new(Cause::Lost, format!("s3:GetObject ended in its middle: {error}"))
        })?;
        Ok(Some(Object {
            bytes: body.to_vec(),
            etag,
            age,
        }))
    }

    /// Writes an object and gives its `ETag`; `None` where the condition does not hold, so that nothing was written.
    pub(super) async fn put(
        &self,
        name: &str,
        bytes: &[u8],
        condition: If<'_>,
    ) -> Result<Option<String>, StateError> {
        let written = again(|| self.write(name, bytes, condition)).await;
        if let Some(etag) = written.map_err(|error| self.failed("write", name, error))? {
            return Ok(Some(etag));
        }
        // The answer to an earlier try may have been lost: then what stands there is what was to be written.
        let there = self.get(name).await?;
        Ok(there.filter(|there| there.bytes == bytes).map(|there| there.etag))
    }

    async fn write(
        &self,
        name: &str,
        bytes: &[u8],
        condition: If<'_>,
    ) -> Result<Option<String>, ResourceError> {
        let call = self.client.put_object().bucket(&self.bucket);
        let call = call.key(format!("{}{name}", self.prefix));
        let call = match condition {
            If::Absent => call.if_none_match("*"),
            If::Same(etag) => call.if_match(etag),
        };
        let encryption = if self.kms_key.is_some() {
            ServerSideEncryption::AwsKms
        } else {
            ServerSideEncryption::Aes256
        };
        let call = call
            .server_side_encryption(encryption)
            .set_ssekms_key_id(self.kms_key.clone());
        match call.body(ByteStream::from(bytes.to_vec())).send().await {
            Ok(written) => written.e_tag().map(str::to_owned).ok_or_else(no_etag).map(Some),
            Err(error) if condition_fails(&error) => Ok(None),
            Err(error) => Err(raced("s3:PutObject", Purpose::Write, &error)),
        }
    }

    /// Removes an object, if it still has this `ETag` where one is given; whether it went.
    pub(super) async fn delete(&self, name: &str, etag: Option<&str>) -> Result<bool, StateError> {
        let key = format!("{}{name}", self.prefix);
        let delete = async || {
            let call = self.client.delete_object().bucket(&self.bucket).key(&key);
            match call.set_if_match(etag.map(str::to_owned)).send().await {
                Ok(_) => Ok(true),
                Err(error) if condition_fails(&error) => Ok(false),
                Err(error) => Err(raced("s3:DeleteObject", Purpose::Delete, &error)),
            }
        };
        again(delete)
            .await
            .map_err(|error| self.failed("remove", name, error))
    }

    /// The names of the objects that begin with `folder`, without it, sorted.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let prefix = format!("{}{folder}", self.prefix);
        let list = async || {
            let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix);
            let mut pages = call.into_paginator().send();
            let mut names = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| failed("s3:ListBucket", Purpose::Read, &error))?;
                let keys = page.contents().iter().filter_map(|object| object.key());
                names.extend(keys.filter_map(|key| Some(key.strip_prefix(&prefix)?.to_owned())));
            }
            names.sort();
            Ok(names)
        };
        again(list)
            .await
            .map_err(|error| self.failed("list", folder, error))
    }

    pub(super) fn failed(&self, what: &'static str, name: &str, error: ResourceError) -> StateError {
        let error = if error.message.contains("NoSuchBucket") {
            error.hint("make the bucket with 'stackup state init', or name one that is there")
        } else {
            error
        };
        StateError::Remote {
            what,
            path: self.path(name),
            source: Box::new(error),
        }
    }
}

/// Makes a call again while that may help and the budget lasts.
pub(super) async fn again<T, F>(call: impl Fn() -> F) -> Result<T, ResourceError>
where
    F: Future<Output = Result<T, ResourceError>>,
{
    let began = Instant::now();
    let (mut pause, longest) = PAUSES;
    loop {
        match call().await {
            Err(error) if may_pass(error.cause) && began.elapsed() + pause < BUDGET => {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            ended => return ended,
        }
    }
}

fn may_pass(cause: Cause) -> bool {
    match cause {
        Cause::Transient | Cause::Throttled | Cause::Lost => true,
        Cause::Unreachable | Cause::Refused | Cause::Outdated | Cause::Permanent => false,
    }
}

/// A failed call; two writes of one object at once are settled by the same call again.
pub(super) fn raced<E>(action: &str, purpose: Purpose, error: &SdkError<E, HttpResponse>) -> ResourceError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut told = failed(action, purpose, error);
    if error.code() == Some("ConditionalRequestConflict") {
        told.cause = Cause::Transient;
    }
    told
}

/// Whether the condition of a write did not hold. An object that went is answered with 404 where its `ETag` was asked for.
fn condition_fails<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error.code(), Some("PreconditionFailed" | "NoSuchKey"))
}

fn no_etag() -> ResourceError {
    ResourceError::permanent("the store gave no ETag, without which nothing can be written safely")
}

/// The `Date` header of one answer.
#[derive(Debug, Clone, Default)]
struct StoreDate(Arc<OnceLock<String>>);

impl StoreDate {
    fn since(&self, then: Option<&DateTime>) -> Option<Duration> {
        let now = DateTime::from_str(self.0.get()?, Format::HttpDate).ok()?;
        let seconds = now.secs().saturating_sub(then?.secs());
        Some(Duration::from_secs(seconds.try_into().unwrap_or_default()))
    }
}

impl Intercept for StoreDate {
    fn name(&self) -> &'static str {
        "StoreDate"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.0.get_or_init(|| date.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{error::ErrorMetadata, operation::put_object::PutObjectError};

    use super::*;

    fn answered(code: &str, status: u16) -> SdkError<PutObjectError, HttpResponse> {
        let metadata = ErrorMetadata::builder().code(code).message("words").build();
        let answer = HttpResponse::new(status.try_into().unwrap(), "".into());
        SdkError::service_error(PutObjectError::generic(metadata), answer)
    }

    #[test]
    fn what_a_refused_write_means_is_told_by_its_code() {
        for (code, status, conflict, again) in [
            ("PreconditionFailed", 412, true, false),
            ("NoSuchKey", 404, true, false),
            ("ConditionalRequestConflict", 409, false, true),
            ("SlowDown", 503, false, true),
            ("ServiceUnavailable", 503, false, true),
            ("InternalError", 500, false, true),
            ("RequestTimeout", 400, false, true),
            ("OperationAborted", 409, false, true),
            ("AccessDenied", 403, false, false),
            ("NoSuchBucket", 404, false, false),
        ] {
            let error = answered(code, status);
            assert_eq!(condition_fails(&error), conflict, "{code}");
            let cause = raced("s3:PutObject", Purpose::Write, &error).cause;
            assert_eq!(may_pass(cause), again, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_asked_again_for_so_long_and_no_longer() {
        let tries = std::cell::Cell::new(0);
        let call = |cause, until| {
            let tries = &tries;
            move || {
                tries.set(tries.get() + 1);
                let ended = tries.get() >= until;
                async move {
                    if ended {
                        Ok(())
                    } else {
                        Err(ResourceError::new(cause, "no"))
                    }
                }
            }
        };
        again(call(Cause::Throttled, 4)).await.unwrap();
        assert_eq!(tries.replace(0), 4);
        let began = Instant::now();
        again(call(Cause::Lost, u32::MAX)).await.unwrap_err();
        assert!(began.elapsed() <= BUDGET && tries.replace(0) > 8);
        again(call(Cause::Permanent, u32::MAX)).await.unwrap_err();
        assert_eq!(tries.get(), 1);
    }

    #[test]
    fn an_age_is_told_by_the_clock_of_the_store_alone() {
        let date = StoreDate::default();
        let then = DateTime::from_secs(1_445_412_420);
        assert_eq!(date.since(Some(&then)), None);
        date.0.get_or_init(|| "Wed, 21 Oct 2015 07:28:00 GMT".into());
        assert_eq!(date.since(Some(&then)), Some(Duration::from_mins(1)));
        assert_eq!(date.since(None), None);
        let later = DateTime::from_secs(2_000_000_000);
        assert_eq!(date.since(Some(&later)), Some(Duration::ZERO));
    }
}
