//! What becomes of the daemon, its plugins, its tokens and its log.

macro_rules! facts_of_administration {
    ([$next:ident $(, $rest:ident)*] $($before:tt)*) => { $next! { [$($rest),*] $($before)*

    /// The daemon started to serve.
    DaemonStarted = "daemon-started" {
        leaf {
            /// The program's version.
            version: String,
            /// Digest of the configuration file.
            config: Digest,
            /// Digest over all policy files.
            policies: Digest,
        }
        payload {}
    }
    /// The daemon stopped in order.
    DaemonStopped = "daemon-stopped" { leaf {} payload {} }
    /// Configuration and policies were loaded again.
    ConfigurationLoaded = "configuration-loaded" {
        leaf {
            /// Digest of the configuration file.
            config: Digest,
            /// Digest over all policy files.
            policies: Digest,
        }
        payload {}
    }
    /// Nothing else happened for a while: silence is provable.
    Heartbeat = "heartbeat" { leaf {} payload {} }
    /// A plugin version was installed.
    PluginInstalled = "plugin-installed" {
        leaf {
            /// Its name.
            name: String,
            /// Its version.
            version: String,
            /// Its release counter.
            release: u64,
            /// Digest of the component.
            digest: Digest,
            /// Key ids of the signatures that counted.
            signers: Vec<String>,
            /// Its place on the trust ladder.
            standing: String,
        }
        payload {
            /// Who installed it.
            by: String,
            /// Why it got another than the initial standing, or an older release.
            comment: Option<String>,
        }
    }
    /// A plugin moved on the trust ladder, or out of it.
    PluginMoved = "plugin-moved" {
        leaf {
            /// Its name.
            plugin: String,
            /// Digest of the component.
            digest: Digest,
            /// Where it stood.
            from: Option<String>,
            /// Where it stands.
            to: String,
            /// `rate`, `demotions`, `reinstated`, `revoked`.
            cause: String,
            /// The runs that caused it.
            runs: Vec<RunId>,
        }
        payload {
            /// Why: the numbers, or the person's reason.
            message: String,
            /// Who, where a person did it.
            by: Option<String>,
            /// The record as it is now.
            record: Record,
        }
    }
    /// A plugin was refused.
    PluginRefused = "plugin-refused" {
        leaf {
            /// The refusal's code.
            code: String,
        }
        payload {
            /// Its name, as far as it can be told.
            name: String,
            /// Why.
            message: String,
        }
    }
    /// An access token was made.
    TokenCreated = "token-created" {
        leaf {
            /// Its id.
            token: TokenId,
            /// Its roles.
            roles: Vec<String>,
            /// When it ends to be good.
            expires: Option<DateTime<Utc>>,
        }
        payload {
            /// Whose it is.
            name: String,
            /// SHA-256 of the token.
            hash: Digest,
            /// Who made it.
            by: String,
        }
    }
    /// An access token is no longer good.
    TokenRevoked = "token-revoked" {
        leaf {
            /// Its id.
            token: TokenId,
        }
        payload {
            /// Who revoked it.
            by: String,
        }
    }
    /// The log ends under its key: the next entry is another epoch's, under another name and key.
    LogEnded = "log-ended" {
        leaf {
            /// The id of the key that signs from then on.
            next_key: String,
        }
        payload {
            /// Why.
            reason: String,
        }
    }
    /// A new epoch of the log begins, under another name and key.
    LogBegun = "log-begun" {
        leaf {
            /// Its number; the first one is 1.
            epoch: u32,
            /// The last checkpoint of the epoch before; none where it was lost.
            before: Option<Before>,
            /// Whether the entries continue that checkpoint.
            continues: bool,
        }
        payload {
            /// Why.
            reason: String,
            /// The last checkpoint of the epoch before, as it was signed.
            checkpoint: Option<String>,
        }
    }

    } };
}
