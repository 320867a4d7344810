use std::fmt;

use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
        PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
        ServerSideEncryptionConfiguration, ServerSideEncryptionRule, VersioningConfiguration,
    },
};
use serde_json::{Value, json};

use super::{
    super::{
        Clients,
        error::{Purpose, failed},
    },
    objects::{again, raced},
};
use crate::{model::S3Model, resource::ResourceError};

/// What a bucket for state must be and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Nothing in it may ever be public.
    Private,
    /// A former state can be fetched again.
    Versioned,
    /// What is in it is encrypted at rest, with the key that the stack file names.
    Encrypted,
    /// Nobody reads or writes it without TLS.
    Tls,
}

impl Lack {
    const ALL: [Self; 4] = [Self::Private, Self::Versioned, Self::Encrypted, Self::Tls];
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "public access to it is not blocked",
            Self::Versioned => "it keeps no versions",
            Self::Encrypted => "it does not encrypt by default as the stack file wants",
            Self::Tls => "its policy does not refuse requests without TLS",
        })
    }
}

/// What became of a bucket.
#[derive(Debug)]
pub struct Bucket {
    /// Whether it was made just now.
    pub made: bool,
    /// What it lacked and has now.
    pub mended: Vec<Lack>,
    /// What it still lacks.
    pub lacks: Vec<Lack>,
}

/// Makes the bucket of `model`: private, versioned, encrypted and with TLS only. One that is there is looked at, and
/// changed only with `mend`.
pub async fn make_bucket(model: &S3Model, mend: bool) -> Result<Bucket, ResourceError> {
    let clients = Clients::new(model.region.clone());
    let region = clients.region().await?;
    let bucket = Setup {
        client: clients.s3().await?,
        model,
        region: &region,
    };
    let made = !again(|| bucket.exists()).await?;
    if made {
        again(|| bucket.make()).await?;
    }
    let (mut mended, mut lacks) = (Vec::new(), Vec::new());
    for lack in Lack::ALL {
        if !made && again(|| bucket.has(lack)).await? {
            continue;
        }
        if made || mend {
            again(|| bucket.mend(lack)).await?;
            mended.push(lack);
        } else {
            lacks.push(lack);
        }
    }
    Ok(Bucket { made, mended, lacks })
}

struct Setup<'a> {
    client: &'a Client,
    model: &'a S3Model,
    region: &'a str,
}

impl Setup<'_> {
    fn name(&self) -> &str {
        &self.model.bucket
    }

    async fn exists(&self) -> Result<bool, ResourceError> {
        match self.client.head_bucket().bucket(self.name()).send().await {
            Ok(_) => Ok(true),
            // The answer to a HEAD has no body, and so no code of its own.
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|raw| raw.status().as_u16() == 404) =>
            {
                Ok(false)
            }
            Err(error) => {
                let name = self.name();
                let hint = match error.raw_response().map(|raw| raw.status().as_u16()) {
                    Some(403) => Some(format!(
                        "if {name} is yours, allow s3:ListBucket on it; names are taken world-wide, so it may be another account's"
                    )),
                    Some(301 | 400) => Some(format!(
                        "{name} may be in another region than {}: set state.s3.region",
                        self.region
                    )),
                    Some(_) | None => None,
                };
                let told = failed("s3:ListBucket", Purpose::Read, &error);
                Err(match hint {
                    Some(hint) => told.hint(hint),
                    None => told,
                })
            }
        }
    }

    async fn make(&self) -> Result<(), ResourceError> {
        let elsewhere = (self.region != "us-east-1").then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region))
                .build()
        });
        let call = self.client.create_bucket().bucket(self.name());
        match call.set_create_bucket_configuration(elsewhere).send().await {
            Ok(_) => Ok(()),
            // An earlier try whose answer was lost.
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            Err(error) if error.code() == Some("BucketAlreadyExists") => {
                Err(failed("s3:CreateBucket", Purpose::Write, &error)
                    .hint("names of buckets are taken world-wide: choose another one"))
            }
            Err(error) => Err(raced("s3:CreateBucket", Purpose::Write, &error)),
        }
    }

    async fn has(&self, lack: Lack) -> Result<bool, ResourceError> {
        match lack {
            Lack::Private => self.is_private().await,
            Lack::Versioned => self.is_versioned().await,
            Lack::Encrypted => self.is_encrypted().await,
            Lack::Tls => Ok(self.policy().await?.is_some_and(|policy| refuses_plain(&policy))),
        }
    }

    async fn mend(&self, lack: Lack) -> Result<(), ResourceError> {
        match lack {
            Lack::Private => self.make_private().await,
            Lack::Versioned => self.make_versioned().await,
            Lack::Encrypted => self.make_encrypted().await,
            Lack::Tls => self.refuse_plain().await,
        }
    }

    async fn is_private(&self) -> Result<bool, ResourceError> {
        match self
            .client
            .get_public_access_block()
            .bucket(self.name())
            .send()
            .await
        {
            Ok(found) => Ok(found.public_access_block_configuration().is_some_and(|block| {
                [
                    block.block_public_acls(),
                    block.ignore_public_acls(),
                    block.block_public_policy(),
                    block.restrict_public_buckets(),
                ]
                .iter()
                .all(|is| *is == Some(true))
            })),
            Err(error) if error.code() == Some("NoSuchPublicAccessBlockConfiguration") => Ok(false),
            Err(error) => Err(failed("s3:GetBucketPublicAccessBlock", Purpose::Read, &error)),
        }
    }

    async fn make_private(&self) -> Result<(), ResourceError> {
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let call = self.client.put_public_access_block().bucket(self.name());
        let sent = call.public_access_block_configuration(block).send().await;
        sent.map(drop)
            .map_err(|error| raced("s3:PutBucketPublicAccessBlock", Purpose::Write, &error))
    }

    async fn is_versioned(&self) -> Result<bool, ResourceError> {
        let found = self
            .client
            .get_bucket_versioning()
            .bucket(self.name())
            .send()
            .await;
        let found = found.map_err(|error| failed("s3:GetBucketVersioning", Purpose::Read, &error))?;
        Ok(found.status() == Some(&BucketVersioningStatus::Enabled))
    }

    async fn make_versioned(&self) -> Result<(), ResourceError> {
        let versions = VersioningConfiguration::builder()
            .status(BucketVersioningStatus::Enabled)
            .build();
        let call = self.client.put_bucket_versioning().bucket(self.name());
        let sent = call.versioning_configuration(versions).send().await;
        sent.map(drop)
            .map_err(|error| raced("s3:PutBucketVersioning", Purpose::Write, &error))
    }

    async fn is_encrypted(&self) -> Result<bool, ResourceError> {
        let found = match self
            .client
            .get_bucket_encryption()
            .bucket(self.name())
            .send()
            .await
        {
            Ok(found) => found,
            Err(error) if error.code() == Some("ServerSideEncryptionConfigurationNotFoundError") => {
                return Ok(false);
            }
            Err(error) => return Err(failed("s3:GetEncryptionConfiguration", Purpose::Read, &error)),
        };
        let rules = found
            .server_side_encryption_configuration()
            .map(ServerSideEncryptionConfiguration::rules)
            .unwrap_or_default();
        let defaults = rules
            .iter()
            .filter_map(ServerSideEncryptionRule::apply_server_side_encryption_by_default);
        Ok(defaults.into_iter().any(|default| match &self.model.kms_key {
            // AWS tells the key by its ARN, whatever it was given.
            Some(key) => {
                *default.sse_algorithm() == ServerSideEncryption::AwsKms
                    && default
                        .kms_master_key_id()
                        .is_some_and(|found| found == key || found.ends_with(&format!("/{key}")))
            }
            None => true,
        }))
    }

    async fn make_encrypted(&self) -> Result<(), ResourceError> {
        let algorithm = match &self.model.kms_key {
            Some(_) => ServerSideEncryption::AwsKms,
            None => ServerSideEncryption::Aes256,
        };
        let unmade = |error| ResourceError::permanent(format!("an encryption without its parts: {error}"));
        let default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(algorithm)
            .set_kms_master_key_id(self.model.kms_key.clone())
            .build()
            .map_err(unmade)?;
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(default)
            .bucket_key_enabled(self.model.kms_key.is_some())
            .build();
        let rules = ServerSideEncryptionConfiguration::builder()
            .rules(rule)
            .build()
            .map_err(unmade)?;
        let call = self.client.put_bucket_encryption().bucket(self.name());
        let sent = call.server_side_encryption_configuration(rules).send().await;
        sent.map(drop)
            .map_err(|error| raced("s3:PutEncryptionConfiguration", Purpose::Write, &error))
    }

    async fn policy(&self) -> Result<Option<Value>, ResourceError> {
        let text = match self.client.get_bucket_policy().bucket(self.name()).send().await {
            Ok(found) => found.policy,
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => None,
            Err(error) => return Err(failed("s3:GetBucketPolicy", Purpose::Read, &error)),
        };
        let policy = text.map(|text| serde_json::from_str(&text)).transpose();
        policy.map_err(|error| {
            ResourceError::permanent(format!("the policy of {} cannot be read: {error}", self.name()))
        })
    }

    /// Adds our statement to the policy, and leaves every other one.
    async fn refuse_plain(&self) -> Result<(), ResourceError> {
        let mut policy = self
            .policy()
            .await?
            .unwrap_or_else(|| json!({"Version": "2012-10-17", "Statement": []}));
        let statements = match policy.get_mut("Statement").map(Value::take) {
            Some(Value::Array(statements)) => statements,
            Some(one @ Value::Object(_)) => vec![one],
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => Vec::new(),
        };
        let ours = plain_refused(self.region, self.name());
        let statements: Vec<Value> = statements.into_iter().chain([ours]).collect();
        if let Some(policy) = policy.as_object_mut() {
            policy.insert("Statement".into(), Value::Array(statements));
        }
        let call = self.client.put_bucket_policy().bucket(self.name());
        let sent = call.policy(policy.to_string()).send().await;
        sent.map(drop)
            .map_err(|error| raced("s3:PutBucketPolicy", Purpose::Write, &error))
    }
}

/// The statement that refuses every request without TLS.
fn plain_refused(region: &str, bucket: &str) -> Value {
    let partition = match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        Some(("us", rest)) if rest.starts_with("gov-") => "aws-us-gov",
        Some(_) | None => "aws",
    };
    let arn = format!("arn:{partition}:s3:::{bucket}");
    json!({
        "Sid": "StackupRefusesPlainRequests",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, format!("{arn}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

/// Whether a statement denies everything, to everybody, that comes without TLS.
fn refuses_plain(policy: &Value) -> bool {
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let is = |value: Option<&Value>, word: &str| match value {
        Some(Value::Array(words)) => words.iter().any(|found| found == word),
        Some(found) => found == word,
        None => false,
    };
    statements.iter().any(|statement| {
        let plain = statement.pointer("/Condition/Bool/aws:SecureTransport");
        let everybody = is(statement.get("Principal"), "*") || is(statement.pointer("/Principal/AWS"), "*");
        is(statement.get("Effect"), "Deny")
            && is(statement.get("Action"), "s3:*")
            && everybody
            && (is(plain, "false") || plain == Some(&Value::Bool(false)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_that_is_written_is_the_one_that_is_looked_for() {
        let ours = plain_refused("eu-central-1", "b");
        assert_eq!(ours["Resource"], json!(["arn:aws:s3:::b", "arn:aws:s3:::b/*"]));
        assert!(refuses_plain(&json!({"Statement": [{"Effect": "Allow"}, ours]})));
        assert!(refuses_plain(&json!({ "Statement": ours })));
        for partial in ["Effect", "Principal", "Action", "Condition"] {
            let mut less = ours.clone();
            less.as_object_mut().unwrap().remove(partial);
            assert!(!refuses_plain(&json!({"Statement": [less]})), "{partial}");
        }
        let china = plain_refused("cn-north-1", "b");
        assert_eq!(china["Resource"][0], "arn:aws-cn:s3:::b");
        assert_eq!(
            plain_refused("us-gov-west-1", "b")["Resource"][0],
            "arn:aws-us-gov:s3:::b"
        );
    }
}
