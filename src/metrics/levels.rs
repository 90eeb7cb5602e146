//! Numbers that go up and down, and are found out when they are asked for.

/// A level that is set when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Vaults in the catalog.
    Vaults,
    /// Vaults whose last listing failed or that were never listed.
    VaultsUnreachable,
    /// Secrets in the catalog.
    Secrets,
    /// Values held.
    CacheValues,
    /// Of them, those that are stale.
    CacheStale,
    /// The age of the oldest, in seconds.
    CacheOldest,
    /// Vaults' own words, held, that they do not give a secret.
    CacheRefusals,
    /// Since the vault that was listed the longest ago was, in seconds; vaults that never were do not count.
    ListingOldest,
    /// Declared secrets that are not held.
    DeclaredMissing,
    /// Bytes of the snapshot that this process wrote last.
    SnapshotBytes,
    /// When that was, in seconds since 1970.
    SnapshotWritten,
    /// Streams of events that are open.
    WatchStreams,
}

/// Each with its name and what it is.
pub(super) const GAUGES: &[(Level, &str, &str)] = &[
    (Level::Vaults, "vaults", "Vaults in the catalog"),
    (Level::VaultsUnreachable, "vaults_unreachable", "Vaults whose last listing failed, or never listed"),
    (Level::Secrets, "catalog_secrets", "Secrets in the catalog"),
    (Level::CacheValues, "cache_values", "Values held"),
    (Level::CacheStale, "cache_stale_values", "Values held that are stale"),
    (Level::CacheOldest, "cache_oldest_seconds", "Since the value that was confirmed the longest ago was"),
    (Level::CacheRefusals, "cache_refusals", "Secrets held to be missing, disabled or denied"),
    (Level::ListingOldest, "catalog_oldest_seconds", "Since the vault that was listed the longest ago was"),
    (Level::DeclaredMissing, "declared_missing", "Declared secrets that are not held"),
    (Level::SnapshotBytes, "snapshot_bytes", "Size of the snapshot written last; 0 if none was"),
    (Level::SnapshotWritten, "snapshot_written_timestamp_seconds", "When it was written; 0 if none was"),
    (Level::WatchStreams, "watch_streams", "Streams of events that are open"),
];
