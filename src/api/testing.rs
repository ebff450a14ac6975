//! A node with a data directory of its own, whose handlers a test calls as a connection does.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use uuid::Uuid;

use super::{Api, Context, Reply, Session};
use crate::broker::Broker;
use crate::config::Settings;
use crate::controller::{Answer, Command};
use crate::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::messages::{CreateTopicsRequest, Request, RequestHeader, TopicName};
use crate::security::KafkaPrincipal;

pub(super) struct Node {
    pub(super) broker: Arc<Broker>,
    session: Session,
    dir: tempfile::TempDir,
}

impl Node {
    pub(super) async fn start() -> Node {
        Node::start_with(&[]).await
    }

    pub(super) async fn start_with(given: &[(&str, &str)]) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::on_free_ports(dir.path()).with(given).unwrap();
        let broker = Broker::start(settings, &[]).await.unwrap();
        let session = Session {
            connection_id: 1,
            client_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listener: "PLAINTEXT".into(),
            principal: KafkaPrincipal::anonymous(),
            client_software: None,
        };
        Node {
            broker,
            session,
            dir,
        }
    }

    /// Stops the broker and starts it again over its directory.
    pub(super) async fn restarted(self) -> Node {
        let Node {
            broker,
            session,
            dir,
        } = self;
        broker.stop().await.unwrap();
        // It holds the lock of the directory.
        drop(broker);
        let broker = Broker::start(Settings::on_free_ports(dir.path()), &[])
            .await
            .unwrap();
        Node {
            broker,
            session,
            dir,
        }
    }

    /// Creates a topic and returns its id.
    pub(super) async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name((*name).to_owned().into())
                .with_value(Some((*value).to_owned().into()))
        });
        let topic = CreatableTopic::default()
            .with_name(TopicName(name.to_owned().into()))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer = self
            .broker
            .controller()
            .submit(Command::CreateTopics(request))
            .await
            .unwrap();
        let Answer::CreateTopics(response) = answer else {
            panic!("another answer")
        };
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
        response.topics[0].topic_id
    }

    pub(super) fn handle<A: Api>(
        &mut self,
        version: i16,
        request: A::Request,
    ) -> Reply<<A::Request as Request>::Response> {
        let header = RequestHeader {
            request_api_key: A::Request::KEY,
            request_api_version: version,
            ..RequestHeader::default()
        };
        A::handle(
            &mut Context {
                broker: &self.broker,
                session: &mut self.session,
                header: &header,
            },
            request,
        )
    }

    /// The answer, waited for if need be.
    pub(super) async fn call<A: Api>(
        &mut self,
        version: i16,
        request: A::Request,
    ) -> <A::Request as Request>::Response {
        match self.handle::<A>(version, request) {
            Reply::Now(response) => response,
            Reply::Later(response) => response.await,
            Reply::Silent | Reply::Close => panic!("no answer"),
        }
    }
}
