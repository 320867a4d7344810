//! The integration tests (this page is completed with the verbs).
