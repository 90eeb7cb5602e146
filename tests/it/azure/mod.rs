//! Tests of azure.
