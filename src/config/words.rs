//! The small types of the config file: maps in file order, words, commands, lists of them.
//!
//! Owns the JSON form of each type, and its schema. Nothing is expanded or parsed here.
//! Invariant: a value is refused while it is read, so that the error has its line and path.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

/// An object whose keys the user chooses, in the order of the file. A key `comment` with a text is ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The keys, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        // A section with this name would be ignored silently.
                        "comment" => match map.next_value::<Comment>()?.0 {
                            serde_json::Value::String(_) => {}
                            _ => return Err(de::Error::custom("`comment` must be a string here, and nothing else can have that name")),
                        },
                        _ => all.push((name, map.next_value()?)),
                    }
                }
                Ok(Named(all))
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "properties": { "comment": { "type": "string" } }, "additionalProperties": value })
    }
}

/// A section of the file, which must be an object. A plain struct would also accept an array of its members.
struct Section<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Section<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Section)
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}

/// Deserializes a section that may be left out.
pub fn section<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Section<T>>::deserialize(deserializer)?.map(|section| section.0))
}

/// Deserializes sections with names.
pub fn sections<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Named<T>, D::Error> {
    let all = Named::<Section<T>>::deserialize(deserializer)?.0;
    Ok(Named(all.into_iter().map(|(name, section)| (name, section.0)).collect()))
}

/// A comment; ignored.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, JsonSchema)]
pub struct Comment(#[allow(dead_code)] pub serde_json::Value);

/// A text, or a number that is read as one: `"30d"`, `"25%"`, `7`. `$NAME` expands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

/// A command: a line for `sh -c`, or a program with its arguments. The shell expands `$NAME` in a line, from the
/// environment that offsite sets. offsite expands `$NAME` in arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for `sh -c`.
    Shell(String),
    /// A program and its arguments, not expanded.
    Program(Vec<String>),
    /// A program and its arguments, expanded.
    Expanded {
        /// The program and its arguments, to run.
        words: Vec<String>,
        /// The same as the config has them, to show.
        written: Vec<String>,
    },
}

impl Command {
    /// Prepares the process of the command without starting it.
    pub fn process(&self) -> std::process::Command {
        match self {
            Self::Shell(line) => {
                let mut process = std::process::Command::new("/bin/sh");
                process.arg("-c").arg(line);
                process
            }
            Self::Program(words) | Self::Expanded { words, .. } => {
                let mut process = std::process::Command::new(words.first().map_or("", String::as_str));
                process.args(words.iter().skip(1));
                process
            }
        }
    }

    /// The command as the config has it, for messages. Nothing is expanded, because a variable may hold a secret.
    pub fn written(&self) -> String {
        match self {
            Self::Shell(line) => line.clone(),
            Self::Program(written) | Self::Expanded { written, .. } => written.join(" "),
        }
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Line;
        impl<'de> Visitor<'de> for Line {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command: a string, or an array of a program and its arguments")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Command, E> {
                match text.trim().is_empty() {
                    true => Err(E::custom("an empty command")),
                    false => Ok(Command::Shell(text.to_owned())),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element::<String>()? {
                    words.push(word);
                }
                match words.first() {
                    None => Err(de::Error::custom("a command without a program")),
                    Some(_) => Ok(Command::Program(words)),
                }
            }
        }
        deserializer.deserialize_any(Line)
    }
}

impl JsonSchema for Command {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "string", "description": "run by sh -c" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1, "description": "a program and its arguments" }
        ] })
    }
}

/// Either a settings object or a short form: the text `ignore`, a URL, a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Either<S, T> {
    /// The short form.
    Short(S),
    /// The settings object.
    Full(T),
}

impl<'de, S: Deserialize<'de>, T: Deserialize<'de>> Deserialize<'de> for Either<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Both<S, T>(PhantomData<(S, T)>);
        impl<'de, S: Deserialize<'de>, T: Deserialize<'de>> Visitor<'de> for Both<S, T> {
            type Value = Either<S, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                S::deserialize(de::value::StrDeserializer::new(text)).map(Either::Short)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                S::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Either::Short)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Either::Full)
            }
        }
        deserializer.deserialize_any(Both(PhantomData))
    }
}

impl<S: JsonSchema, T: JsonSchema> JsonSchema for Either<S, T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", S::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, full) = (generator.subschema_for::<S>(), generator.subschema_for::<T>());
        json_schema!({ "oneOf": [short, full] })
    }
}

/// One or several: `"x"` is `["x"]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Several<T>(pub Vec<T>);

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Texts<T> {
            type Value = Several<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Several(vec![T::deserialize(de::value::StrDeserializer::new(text))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Several(all))
            }
        }
        deserializer.deserialize_any(Texts(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}s", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "oneOf": [{ "type": "string" }, { "type": "array", "items": one }] })
    }
}
