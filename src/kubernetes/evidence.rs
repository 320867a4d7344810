use http::Method;
use serde_json::Value;

use super::client::{Cluster, Sent};
use crate::resource::ResourceError;

/// What checks may ask an API server; nothing here writes.
impl Cluster {
    /// All objects of a type, in one namespace or in all; none if the type is not served.
    pub async fn objects(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, ResourceError> {
        let Some(of) = self.discovery.find(self, api_version, kind).await? else {
            return Ok(Vec::new());
        };
        Ok(self.list(&of.collection(namespace), "").await?)
    }

    /// The same, or nothing if the credentials lack the right to list them.
    pub async fn objects_if_allowed(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Option<Vec<Value>>, ResourceError> {
        let Some(of) = self.discovery.find(self, api_version, kind).await? else {
            return Ok(Some(Vec::new()));
        };
        match self.list(&of.collection(namespace), "").await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.refusal().is_some_and(|refusal| refusal.code == 403) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What the server answers at a path: `/version`, `/readyz?verbose`, `/openapi/v3`. Text that is no JSON comes as
    /// a JSON string.
    pub async fn raw(&self, path: &str) -> Result<Value, ResourceError> {
        let accept = "application/json, text/plain, */*";
        let body = self.exchange(Method::GET, path, Sent::Nothing, accept).await?;
        Ok(serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())))
    }
}
