//! Decrypts documents for age keys, and checks their checksum.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{AesGcm, aes::Aes256};
use age::armor::ArmoredReader;
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256, Sha512};
use std::io::Read;

use super::rules::Rules;
use super::{CHANGED, Format, NO_KEY, identities, is_comment, is_encrypted};

/// The nonce has 32 bytes, not the usual 12.
type Cipher = AesGcm<Aes256, U32>;

/// The kinds of keys other than age that a document may have.
const OTHER_KEYS: [&str; 6] = ["kms", "gcp_kms", "azure_kv", "hc_vault", "hckms", "pgp"];

/// What only sops itself can do: several keys that are needed together, and rules that depend on comments.
const ONLY_SOPS: [&str; 3] = ["key_groups", "encrypted_comment_regex", "unencrypted_comment_regex"];

/// The document without its `sops` member, decrypted.
pub async fn decrypt(document: &Value, format: Format) -> Result<Value> {
    let mut encrypted = document.clone();
    let sops = encrypted.as_object_mut().and_then(|it| it.shift_remove("sops")).context("it has no `sops` member")?;
    if let Some(member) = ONLY_SOPS.iter().find(|it| sops.get(**it).is_some_and(|it| !it.is_null())) {
        bail!("it has `sops.{member}`, so decrypting it needs the `sops` program, which is not in PATH");
    }
    let cipher =
        Cipher::new_from_slice(&data_key(&sops).await?).map_err(|_| anyhow!("its data key is not one of sops"))?;
    let (mac, rules) = (mac(&sops, &cipher)?, Rules::of(&sops)?);
    let only_encrypted = sops["mac_only_encrypted"] == true;
    let opener = Opener { cipher: &cipher, rules: &rules, only_encrypted, format, digest: Sha512::new() };
    let (plain, digest) = opener.open(&encrypted)?;
    if digest == mac { Ok(plain) } else { bail!(CHANGED) }
}

/// The key that encrypts the values.
async fn data_key(sops: &Value) -> Result<Vec<u8>> {
    let entries = sops["age"].as_array().filter(|it| !it.is_empty());
    let Some(entries) = entries else {
        let has = |name: &&&str| sops[**name].as_array().is_some_and(|it| !it.is_empty());
        let Some(keys) = OTHER_KEYS.iter().find(has) else {
            bail!("its `sops` member names no keys: encrypt it again, or remove that member if it is not encrypted");
        };
        bail!("it is encrypted with {keys} keys, which needs the `sops` program: it is not in PATH");
    };
    let identities = identities::find().await?;
    let opened = entries.iter().filter_map(|it| it["enc"].as_str()).find_map(|it| open_key(it, &identities));
    opened.ok_or_else(|| anyhow!(NO_KEY))
}

fn open_key(armored: &str, identities: &[age::x25519::Identity]) -> Option<Vec<u8>> {
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(armored.as_bytes())).ok()?;
    let identities = identities.iter().map(|it| it as &dyn age::Identity);
    let mut key = Vec::new();
    decryptor.decrypt(identities).ok()?.read_to_end(&mut key).ok()?;
    Some(key)
}

/// The checksum that the document was given.
fn mac(sops: &Value, cipher: &Cipher) -> Result<String> {
    let Some(mac) = sops["mac"].as_str().filter(|it| !it.is_empty()) else {
        bail!("it has no checksum (`sops.mac`): encrypt it again");
    };
    let modified = sops["lastmodified"].as_str().unwrap_or_default();
    let (text, _) = open(cipher, mac, modified).context("its checksum can't be read")?;
    Ok(text)
}

/// Decrypts the values of one document, and hashes them.
struct Opener<'a> {
    cipher: &'a Cipher,
    rules: &'a Rules,
    only_encrypted: bool,
    format: Format,
    digest: Sha512,
}

impl Opener<'_> {
    /// The plain value, and its checksum.
    fn open(mut self, encrypted: &Value) -> Result<(Value, String)> {
        if self.only_encrypted {
            self.digest.update(Sha256::digest(b"sops"));
        }
        let plain = self.value(encrypted, &mut Vec::new())?;
        let digest = self.digest.finalize();
        Ok((plain, digest.iter().map(|it| format!("{it:02X}")).collect()))
    }

    fn value(&mut self, value: &Value, path: &mut Vec<String>) -> Result<Value> {
        Ok(match value {
            Value::Object(members) => {
                let mut opened = Map::new();
                for (name, member) in members {
                    path.push(name.clone());
                    opened.insert(name.clone(), self.value(member, path)?);
                    path.pop();
                }
                opened.into()
            }
            Value::Array(items) => {
                let items = items.iter().filter(|it| !is_comment(it));
                items.map(|it| self.value(it, path)).collect::<Result<_>>()?
            }
            // These are never encrypted.
            Value::Null => Value::Null,
            Value::String(text) if text.is_empty() => Value::String(String::new()),
            leaf if self.rules.encrypt(path) => self.encrypted(leaf, path)?,
            leaf => {
                if !self.only_encrypted {
                    self.digest.update(self.plain_text(leaf));
                }
                leaf.clone()
            }
        })
    }

    fn encrypted(&mut self, leaf: &Value, path: &[String]) -> Result<Value> {
        let at = || path.join(".");
        let text = leaf.as_str().filter(|it| is_encrypted(it));
        let text =
            text.with_context(|| format!("{} is not encrypted, but has to be: use sops to edit the file", at()))?;
        let aad = path.join(":") + ":";
        let (plain, kind) = open(self.cipher, text, &aad).with_context(at)?;
        let number = || plain.parse::<Number>().map_err(|_| anyhow!("{} is not a number", at()));
        let value = match kind {
            "str" | "bytes" | "time" => Value::String(plain.clone()),
            "int" | "float" => Value::Number(number()?),
            "bool" => Value::Bool(plain.eq_ignore_ascii_case("true")),
            _ => bail!("{} has a type that only sops knows", at()),
        };
        self.digest.update(plain.as_bytes());
        Ok(value)
    }

    /// The text of a plain value in the checksum.
    fn plain_text(&self, leaf: &Value) -> String {
        match leaf {
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            // sops reads all numbers of JSON as floats. Those of Rust have no exponent, like sops'.
            Value::Number(it) if self.format == Format::Json || !(it.is_i64() || it.is_u64()) => {
                it.as_f64().unwrap_or_default().to_string()
            }
            Value::Number(it) => it.to_string(),
            Value::String(it) => it.clone(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        }
    }
}

/// Opens `ENC[AES256_GCM,data:...,iv:...,tag:...,type:...]`. Gives the text and its type.
fn open<'a>(cipher: &Cipher, text: &'a str, aad: &str) -> Result<(String, &'a str)> {
    let damaged = || anyhow!("an encrypted value was damaged or moved: encrypt it again with sops");
    let body = text.strip_prefix("ENC[AES256_GCM,").and_then(|it| it.strip_suffix(']')).ok_or_else(damaged)?;
    let field = |name: &str| body.split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
    let bytes = |name: &str| field(name).and_then(|it| STANDARD.decode(it).ok()).ok_or_else(damaged);
    let (mut data, nonce, tag) = (bytes("data")?, bytes("iv")?, bytes("tag")?);
    if nonce.len() != 32 || tag.len() != 16 {
        return Err(damaged());
    }
    let (nonce, tag) = (GenericArray::from_slice(&nonce), GenericArray::from_slice(&tag));
    cipher.decrypt_in_place_detached(nonce, aad.as_bytes(), &mut data, tag).map_err(|_| damaged())?;
    let kind = field("type").ok_or_else(damaged)?;
    Ok((String::from_utf8(data).map_err(|_| damaged())?, kind))
}
