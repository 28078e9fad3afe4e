//! Which field names look as if their values were secret: the one place that decides this.

use std::sync::LazyLock;

use regex::Regex;

/// Names in snake case whose values are secret.
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"secret|token|passw|pass_?(phrase|code)|credential|authorization|bearer|cookie|signature|hmac",
        r"|service_?account|private_?key|(api|access|account|ssh|rsa|pem|pgp|gpg)_?keys?(_|$)",
        r"|(^|_)(keys?|keyfile|key_?json|pass|pwd|pw|pin|otp|pat|sas|jwt|dsn|auth|salt)$|^uri$",
        r"|connection_?(string|ur[il])|(database|db|jdbc|mongo\w*|webhook)_?ur[il]$",
    ))
    .ok()
});

/// Names in snake case that match [`SECRET`], but describe a secret instead of holding it.
static DESCRIPTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(^|_)(type|method|title|dates?|expir(y|es|ation)(_\w+)?|ttl|lifetime|enabled|required|strategy|location|path",
        r"|name|email|header|scheme|mode|endpoint|domain|count|size|length|limit|format|fields?|channels)$",
        r"|(^|_)(token|auth|redirect|base|provider_x509_cert)_ur[il]$",
        r"|(^|_)(primary|public|partition|replication|sort|foreign|cursor|row|object)_keys?$",
    ))
    .ok()
});

/// Whether the value of a field with this name is secret, as far as a name can tell.
pub fn is_secret_name(name: &str) -> bool {
    let name = snake_case(name);
    SECRET.as_ref().is_some_and(|it| it.is_match(&name)) && !describes(&name)
}

/// Whether a field is public although it is part of a secret: `type` and `token_uri` of a Google service account.
pub fn is_public_name(name: &str) -> bool {
    describes(&snake_case(name))
}

fn describes(name: &str) -> bool {
    DESCRIPTION.as_ref().is_some_and(|it| it.is_match(name))
}

/// `apiKey`, `API-Key` and `APIKey` as `api_key`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (at, &it) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|it| chars[it]);
        let after = chars.get(at + 1);
        let starts_word = it.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase() || before.is_numeric() || after.is_some_and(|after| after.is_lowercase())
            });
        if (starts_word || !it.is_alphanumeric()) && !snake.ends_with('_') {
            snake.push('_');
        }
        if it.is_alphanumeric() {
            snake.extend(it.to_lowercase());
        }
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets() {
        for name in [
            "password",
            "apiKey",
            "API-Key",
            "APIKey",
            "api_key",
            "clientSecret",
            "access_token",
            "refreshToken",
            "pwd",
            "private_key",
            "privateKeyId",
            "private_key_id",
            "sshkey",
            "ssh_key",
            "pin",
            "bearer",
            "auth",
            "hmac",
            "uri",
            "passphrase",
            "connection_url",
            "connectionString",
            "connection_uri",
            "webhook_url",
            "database_url",
            "dsn",
            "service_account_json",
            "service_account_info",
            "serviceAccountKey",
            "credentials_json",
            "access_key_id",
            "Authorization",
            "account_key",
            "sas",
            "personal_access_token",
            "Set-Cookie",
            "X-Auth-Token",
            "key",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "host",
            "port",
            "auth_type",
            "authType",
            "auth_method",
            "token_expiry_date",
            "token_url",
            "token_uri",
            "credentials_title",
            "include_private_channels",
            "primary_key",
            "public_key",
            "replicationKey",
            "username",
            "start_date",
            "redirect_uri",
            "keyboard",
            "monkey",
            "pinned",
            "author",
            "expires_in",
            "tokenExpiresAt",
            "private_key_path",
            "secret_name",
            "spinner",
            "passenger",
            "client_email",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
