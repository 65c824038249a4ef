//! Which sessions belong to one client and may share what was computed for them.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use thinking::{
    testing::{Script, ScriptedThinker},
    thinker::{ClientId, Session, Thinker},
};
use transport::{ClientTls, Remote, RemoteConfig, ServerConfig, ServerTls, Token};

use crate::support::{Node, Pki, opened};

/// A Thinker that records the client of each session.
struct Noting {
    thinker: ScriptedThinker,
    clients: Mutex<Vec<ClientId>>,
}

impl Thinker for Noting {
    fn session(&self) -> Session {
        self.session_of(ClientId::default())
    }

    fn session_of(&self, client: ClientId) -> Session {
        self.clients.lock().unwrap().push(client);
        self.thinker.session()
    }
}

/// The clients of four sessions: two on one connection, and one on each of two others.
async fn clients(
    change: impl FnOnce(&mut ServerConfig),
    config: impl Fn(&Node) -> RemoteConfig,
) -> Vec<ClientId> {
    let thinker = ScriptedThinker::new(Script::babble());
    let noting = Arc::new(Noting { thinker, clients: Mutex::default() });
    let node = Node::with(noting.clone(), change).await;
    let remotes = [(), (), ()].map(|()| Remote::new(config(&node)).unwrap());
    for remote in [0, 0, 1, 2] {
        opened(&remotes[remote]).await;
    }
    mem::take(&mut noting.clients.lock().unwrap())
}

fn assert_by_connection(clients: &[ClientId]) {
    let [first, same, second, third] = clients else { panic!("{clients:?}") };
    assert_eq!(first, same);
    let all = [*first, *second, *third, ClientId::default()];
    assert!((1..4).all(|n| !all[..n].contains(&all[n])), "{all:?}");
}

#[tokio::test]
async fn without_a_token_each_connection_is_a_client_of_its_own() {
    assert_by_connection(&clients(|_| {}, Node::config).await);
    let pki = Pki::new();
    let tls = |config: &mut ServerConfig| {
        let (cert, key) = (pki.file("server.pem"), pki.file("server.key"));
        config.tls = Some(ServerTls { cert, key, client_ca: None });
    };
    let config = |node: &Node| {
        let address = format!("https://127.0.0.1:{}", node.port).parse().unwrap();
        let tls = ClientTls { ca: Some(pki.file("ca.pem")), identity: None };
        RemoteConfig { tls, ..RemoteConfig::new(address) }
    };
    assert_by_connection(&clients(tls, config).await);
}

#[tokio::test]
async fn those_who_show_the_nodes_token_are_one_client() {
    let token = || Some(Token::new("s3cret").unwrap());
    let config = |node: &Node| RemoteConfig { token: token(), ..node.config() };
    let clients = clients(|config| config.token = token(), config).await;
    assert_eq!(clients, [ClientId::default(); 4]);
}
