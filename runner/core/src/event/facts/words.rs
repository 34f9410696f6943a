//! From a list of kinds, each with what stays in the leaf and what came from outside: the enum, the structs, and
//! how they are written and read.

macro_rules! facts {
    ([] $($(#[doc = $doc:literal])+ $name:ident = $kind:literal {
        leaf { $($(#[doc = $ldoc:literal])+ $(#[serde($($lattr:tt)*)])? $lfield:ident: $ltype:ty,)* }
        payload { $($(#[doc = $pdoc:literal])+ $(#[serde($($pattr:tt)*)])? $pfield:ident: $ptype:ty,)* }
    })+) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Fact {
            $($(#[doc = $doc])+ $name($name, Outside<payload::$name>),)+
        }

        $(
            $(#[doc = $doc])+
            ///
            /// The part that stays in the leaf.
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $name { $($(#[doc = $ldoc])+ $(#[serde($($lattr)*)])? pub $lfield: $ltype,)* }
        )+

        /// The parts of events that came from outside.
        pub mod payload {
            use super::*;

            $(
                $(#[doc = $doc])+
                ///
                /// The part that came from outside.
                #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
                #[serde(deny_unknown_fields)]
                pub struct $name { $($(#[doc = $pdoc])+ $(#[serde($($pattr)*)])? pub $pfield: $ptype,)* }

                impl $name {
                    pub(super) const EMPTY: bool = {
                        let fields: &[&str] = &[$(stringify!($pfield),)*];
                        fields.is_empty()
                    };
                }
            )+
        }

        impl Fact {
            /// The word for its kind, as in the leaf.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(..) => $kind,)+
                }
            }

            /// All kinds.
            pub const KINDS: &'static [&'static str] = &[$($kind,)+];
        }

        impl Event {
            /// Leaf and payload of the event. `salt` must be fresh randomness: it keeps short payloads from being
            /// guessed once they are removed.
            ///
            /// # Errors
            /// [`EventError::TooLong`] when the leaf would not fit an entry bundle.
            pub fn encode(&self, salt: [u8; 16]) -> Result<Encoded, EventError> {
                match &self.fact {
                    $(Fact::$name(leaf, outside) => {
                        let bytes = if payload::$name::EMPTY { None } else { outside.get().map(json_bytes) };
                        self.finish($kind, leaf, bytes, salt)
                    })+
                }
            }

            /// The event that leaf and payload tell. `payload` is `None` where the event has none, or where it
            /// was removed.
            ///
            /// # Errors
            /// [`EventError::Unreadable`] when the bytes are not an event that this version knows.
            pub fn decode(leaf: &[u8], payload_bytes: Option<&[u8]>) -> Result<Self, EventError> {
                let parsed: LeafIn<'_> = serde_json::from_slice(leaf).map_err(EventError::Unreadable)?;
                let fact = match parsed.kind.as_str() {
                    $($kind => {
                        let leaf: $name = parse(parsed.fact.get().as_bytes())?;
                        let outside = if payload::$name::EMPTY {
                            Outside::Kept(parse(b"{}")?)
                        } else {
                            if parsed.payload.is_none() {
                                return Err(EventError::PayloadMissing($kind));
                            }
                            payload_bytes.map_or(Ok(Outside::Removed), |bytes| parse(bytes).map(Outside::Kept))?
                        };
                        Fact::$name(leaf, outside)
                    })+
                    other => {
                        let error = serde::de::Error::custom(format_args!("unknown kind {other:?}"));
                        return Err(EventError::Unreadable(error));
                    }
                };
                Ok(Self { at: parsed.at, run: parsed.run, alert: parsed.alert, fact })
            }
        }
    };
}
