//! What is read of the API server: lists in pages, so that a large cluster is no burden to it.

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request,
        params::{GetParams, ListParams},
    },
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::Error,
    objects::{EniRecord, NodeConfig},
    options::Options,
};

/// Objects of a page; what kubectl asks for at once.
const PAGE: u32 = 500;

const CONFIGS: &str = "/apis/networking.tke.cloud.tencent.com/v1/nodeeniconfigs";
const RECORDS: &str = "/apis/networking.tke.cloud.tencent.com/v1/vpcenis";

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    metadata: PageMetadata,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    rest: Option<String>,
}

impl Cluster {
    /// The one that the options or the environment name, as for kubectl.
    ///
    /// # Errors
    ///
    /// [`Error::Kubeconfig`], and [`Error::Api`] if no client can be made of it.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let choice = KubeConfigOptions {
            context: options.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &options.kubeconfig {
            Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &choice).await?,
            None => match Config::from_kubeconfig(&choice).await {
                Ok(config) => config,
                // In a pod there is none; what is wrong with one that is there is worth more than its absence.
                Err(error) => Config::incluster().or(Err(error))?,
            },
        };
        let client = Client::try_from(config).map_err(|source| Error::Api {
            what: "the client".to_owned(),
            source,
        })?;
        Ok(Self { client })
    }

    /// All pools.
    ///
    /// # Errors
    ///
    /// [`Error::Undefined`] before ipamd ever ran; [`Error::Api`].
    pub async fn configs(&self) -> Result<Vec<NodeConfig>, Error> {
        self.ours(CONFIGS, "NodeENIConfig").await
    }

    /// All records of ENIs.
    ///
    /// # Errors
    ///
    /// As of [`Self::configs`].
    pub async fn records(&self) -> Result<Vec<EniRecord>, Error> {
        self.ours(RECORDS, "VpcENI").await
    }

    /// The pods that are scheduled, or those of one node.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub async fn pods(&self, node: Option<&str>) -> Result<Vec<Pod>, Error> {
        let fields = match node {
            Some(node) => format!("spec.nodeName={node}"),
            None => "spec.nodeName!=".to_owned(),
        };
        self.list("/api/v1/pods", ListParams::default().fields(&fields))
            .await
    }

    /// A pod, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, Error> {
        self.get(&format!("/api/v1/namespaces/{namespace}/pods"), name)
            .await
    }

    /// A node, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub async fn node(&self, name: &str) -> Result<Option<Node>, Error> {
        self.get("/api/v1/nodes", name).await
    }

    /// All nodes.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.list("/api/v1/nodes", ListParams::default()).await
    }

    /// The events about an object.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub async fn events(&self, kind: &str, name: &str) -> Result<Vec<Event>, Error> {
        let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
        self.list("/api/v1/events", ListParams::default().fields(&fields))
            .await
    }

    /// The pool of a node, if ipamd made one.
    ///
    /// # Errors
    ///
    /// [`Error::Api`].
    pub async fn config(&self, node: &str) -> Result<Option<NodeConfig>, Error> {
        self.get(CONFIGS, node).await
    }

    async fn ours<T: DeserializeOwned>(&self, path: &str, kind: &'static str) -> Result<Vec<T>, Error> {
        match self.list(path, ListParams::default()).await {
            Err(Error::Api {
                source: kube::Error::Api(status),
                ..
            }) if status.code == 404 => Err(Error::Undefined(kind)),
            listed => listed,
        }
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, how: ListParams) -> Result<Vec<T>, Error> {
        let failed = |source| Error::Api {
            what: path.to_owned(),
            source,
        };
        let mut how = how.limit(PAGE);
        let mut found = Vec::new();
        loop {
            let request = Request::new(path).list(&how);
            let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
            let page: Page<T> = self.client.request(request).await.map_err(failed)?;
            found.extend(page.items);
            match page.metadata.rest.filter(|rest| !rest.is_empty()) {
                Some(rest) => how = how.continue_token(&rest),
                None => return Ok(found),
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<Option<T>, Error> {
        let failed = |source| Error::Api {
            what: format!("{path}/{name}"),
            source,
        };
        let request = Request::new(path).get(name, &GetParams::default());
        let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        match self.client.request(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
