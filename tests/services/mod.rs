//! Flow's services that a connector publishes a rotated config to: the encryption service and the control plane, on one
//! local server that can misbehave. It encrypts as Flow's does, and recognises what it has encrypted.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Map, Value, json};

/// The routes.
pub const ENCRYPT_CONFIG: &str = "/v1/encrypt-config";
pub const ENCRYPT_SECRET: &str = "/secret/encrypt";
pub const SET_SECRET: &str = "/task/set-secret";
pub const UPDATE_CONFIG: &str = "/task/update-config";

/// A request.
#[derive(Clone, Debug)]
pub struct Received {
    /// With its query.
    pub path: String,
    pub body: Value,
}

impl Received {
    pub fn is_for(&self, route: &str) -> bool {
        self.path.split('?').next() == Some(route)
    }
}

pub enum Answer {
    /// What the services answer if all is well.
    Well,
    Status(u16, String),
    /// None, while the connection stays open.
    Hang,
    /// Half of the right one.
    Broken,
}

/// What the services do: decided by the request and by how many there were at its route before.
pub type Behaviour = dyn Fn(&Received, usize) -> Answer + Send + Sync;

pub struct Services {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    /// Each request's path as it arrives.
    pub arrivals: Receiver<String>,
}

impl Services {
    pub fn start(behave: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a local server");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (sender, arrivals) = channel();
        let (behave, keep): (Arc<Behaviour>, _) = (Arc::new(behave), received.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (behave, keep, sender) = (behave.clone(), keep.clone(), sender.clone());
                thread::spawn(move || serve(stream, behave.as_ref(), &keep, &sender));
            }
        });
        Self { url, received, arrivals }
    }

    pub fn well() -> Self {
        Self::start(|_, _| Answer::Well)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The bodies of the requests at a route.
    pub fn bodies(&self, route: &str) -> Vec<Value> {
        self.received().into_iter().filter(|it| it.is_for(route)).map(|it| it.body).collect()
    }

    /// Writes `task-update.json`.
    pub fn mount(&self, folder: &Path, token: &str) {
        let update =
            json!({"token": token, "control_plane_url": self.url, "config_encryption_url": format!("{}/", self.url)});
        // Nobody reads half of it.
        let new = folder.join("task-update.json.new");
        std::fs::write(&new, update.to_string()).expect("a file");
        std::fs::rename(new, folder.join("task-update.json")).expect("a file");
    }
}

fn serve(stream: TcpStream, behave: &Behaviour, received: &Mutex<Vec<Received>>, arrivals: &Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let path = head[0].split(' ').nth(1).expect("a path").to_owned();
    let length =
        head.iter().find_map(|it| it.to_lowercase().strip_prefix("content-length:").map(|it| it.trim().parse()));
    let mut body = vec![0; length.map_or(0, |it| it.expect("a length"))];
    reader.read_exact(&mut body).expect("a body");
    let request = Received { path, body: serde_json::from_slice(&body).unwrap_or_default() };
    let earlier = {
        let mut received = received.lock().unwrap();
        let route = request.path.split('?').next().unwrap_or_default();
        let earlier = received.iter().filter(|it| it.is_for(route)).count();
        received.push(request.clone());
        earlier
    };
    let _ = arrivals.send(request.path.clone());
    let (status, text, cut) = match behave(&request, earlier) {
        Answer::Well => (200, well(&request).to_string(), false),
        Answer::Broken => (200, well(&request).to_string(), true),
        Answer::Status(status, text) => (status, text, false),
        Answer::Hang => {
            // Until the client gives up.
            let _ = reader.read(&mut [0]);
            return;
        }
    };
    let sent = if cut { &text[..text.len() / 2] } else { &text };
    let _ = write!(
        reader.get_mut(),
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sent}",
        text.len()
    );
}

fn well(request: &Received) -> Value {
    match request.path.split('?').next().unwrap_or_default() {
        ENCRYPT_CONFIG => {
            let mut config = encrypted_config(&request.body["config"], &request.body["schema"]);
            config["sops"] = json!({"encrypted_suffix": "_sops"});
            config
        }
        ENCRYPT_SECRET => {
            let name = request.path.split_once("?name=").map_or("", |it| it.1).replace("%2F", "/");
            json!({"name": name, "value": encrypted(&request.body), "sops": {"lastmodified": "2026-11-26T00:00:00Z"}})
        }
        SET_SECRET => json!({"secretId": "1122334455667788", "changed": true}),
        UPDATE_CONFIG => json!({}),
        other => panic!("no route {other}"),
    }
}

/// A value with each of its texts and numbers encrypted.
pub fn encrypted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, it)| (name.clone(), encrypted(it))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(encrypted).collect(),
        Value::Null => Value::Null,
        other => {
            let mut hasher = DefaultHasher::new();
            other.to_string().hash(&mut hasher);
            format!("ENC[{:x}]", hasher.finish()).into()
        }
    }
}

/// The members that the schema marks get another name and are encrypted. It knows `properties` only.
fn encrypted_config(config: &Value, schema: &Value) -> Value {
    let members = config.as_object().into_iter().flatten().map(|(name, value)| {
        let schema = &schema["properties"][name];
        match value {
            Value::Object(_) => (name.clone(), encrypted_config(value, schema)),
            _ if schema["secret"] == true => (format!("{name}_sops"), encrypted(value)),
            _ => (name.clone(), value.clone()),
        }
    });
    members.collect::<Map<_, _>>().into()
}
