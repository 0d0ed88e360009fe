//! Listings: every page or an error.

use std::{collections::BTreeSet, fmt, time::Duration};

use eni_core::{
    cloud::{CloudError, CloudErrorKind, CloudResult, EniFilter},
    model::{EniId, Instance, InstanceId, Subnet, SubnetId},
};
use tokio::time::sleep;

use super::{
    TencentCloud,
    pages::{Next, Pages},
    senseless,
};
use crate::{
    api::{
        Action, DescribeInstances, DescribeNetworkInterfaces, DescribeSubnets, Filter,
        INSTANCE_FILTER_VALUES, NetworkInterface, PAGE,
    },
    client::Failure,
    convert,
    error::Class,
};

/// How often one page is asked for, if there are too many requests.
const ATTEMPTS: u32 = 5;

/// The shortest pause before a page is asked for again; it doubles with each attempt.
const PAUSE: Duration = Duration::from_millis(200);

impl TencentCloud {
    /// The ENIs that match, as the API shows them.
    pub(super) async fn list_enis(&self, filter: &EniFilter) -> CloudResult<Vec<NetworkInterface>> {
        let ids: Vec<&[EniId]> = match filter {
            EniFilter::Ids(ids) => ids.chunks(PAGE).collect(),
            EniFilter::Instance(_) | EniFilter::Tags(_) => {
                return self.eni_pages(filters(filter), &words(filter)).await;
            }
        };
        let mut found = Vec::new();
        for ids in ids {
            // By a filter: one id that is gone would fail a request by ids as a whole.
            let values = ids.iter().map(EniId::to_string);
            let filter = Filter::new("network-interface-id", values);
            found.extend(self.eni_pages(vec![filter], &join(ids)).await?);
        }
        Ok(found)
    }

    /// One ENI as the API shows it, if it is there.
    pub(super) async fn look(&self, id: &EniId) -> CloudResult<Option<NetworkInterface>> {
        let listed = self.list_enis(&EniFilter::Ids(vec![id.clone()])).await?;
        Ok(listed
            .into_iter()
            .find(|eni| eni.network_interface_id == id.as_str()))
    }

    async fn eni_pages(&self, filters: Vec<Filter>, resource: &str) -> CloudResult<Vec<NetworkInterface>> {
        let mut pages = Pages::new();
        loop {
            let request = DescribeNetworkInterfaces {
                filters: filters.clone(),
                offset: pages.offset(),
                limit: PAGE,
            };
            let answer = match self.page(&request, resource, pages.offset()).await {
                // Of things that do not exist nothing is there.
                Err(failure) if failure.class() == Some(Class::Gone) => return Ok(Vec::new()),
                answer => answer.map_err(|failure| failure.about(resource, None))?,
            };
            let page = answer.network_interface_set.into_iter();
            let page = page.map(|eni| (eni.network_interface_id.clone(), eni)).collect();
            match pages.take(page, answer.total_count, PAGE) {
                Next::Page => {}
                Next::Done => return Ok(pages.into_found().collect()),
                Next::Broken(why) => return Err(senseless(DescribeNetworkInterfaces::NAME, resource, why)),
            }
        }
    }

    /// The instances among `ids` that exist.
    pub(super) async fn list_instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        let mut found = Vec::new();
        for ids in ids.chunks(PAGE) {
            let request = DescribeInstances {
                instance_ids: ids.iter().map(InstanceId::to_string).collect(),
                filters: Vec::new(),
                offset: 0,
                limit: PAGE,
            };
            match self.instance_page(&request, &join(ids), !found.is_empty()).await {
                Ok(instances) => found.extend(instances),
                // One that does not exist fails the request as a whole; a filter leaves it out.
                Err(failure) if failure.class() == Some(Class::Gone) => {
                    for ids in ids.chunks(INSTANCE_FILTER_VALUES) {
                        let request = DescribeInstances {
                            instance_ids: Vec::new(),
                            filters: vec![Filter::new("instance-id", ids.iter().map(InstanceId::to_string))],
                            ..request
                        };
                        let resource = join(ids);
                        let instances = self.instance_page(&request, &resource, true).await;
                        found.extend(instances.map_err(|failure| failure.about(&resource, None))?);
                    }
                }
                Err(failure) => return Err(failure.about(&join(ids), None)),
            }
        }
        Ok(found)
    }

    /// Instances that fit into one page.
    async fn instance_page(
        &self,
        request: &DescribeInstances,
        resource: &str,
        later: bool,
    ) -> Result<Vec<Instance>, Failure> {
        let answer = self.page(request, resource, usize::from(later)).await?;
        let listed = answer.instance_set.len();
        match answer.total_count {
            Some(total) if total <= listed => {
                Ok(answer.instance_set.into_iter().map(convert::instance).collect())
            }
            total => Err(Failure::senseless(
                DescribeInstances::NAME,
                format!("{listed} were listed, of {total:?}"),
            )),
        }
    }

    /// The subnets `ids`, all of them.
    pub(super) async fn list_subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        let mut found: Vec<Subnet> = Vec::new();
        for ids in ids.chunks(PAGE) {
            let resource = join(ids);
            let unique: BTreeSet<_> = ids.iter().map(SubnetId::to_string).collect();
            let request = DescribeSubnets {
                subnet_ids: unique.into_iter().collect(),
                offset: "0".to_owned(),
                limit: PAGE.to_string(),
            };
            let answer = self.page(&request, &resource, found.len()).await;
            for subnet in answer
                .map_err(|failure| failure.about(&resource, None))?
                .subnet_set
            {
                let subnet = convert::subnet(subnet)
                    .map_err(|error| senseless(DescribeSubnets::NAME, &resource, error))?;
                found.push(subnet);
            }
        }
        if let Some(missing) = ids.iter().find(|id| found.iter().all(|subnet| subnet.id != **id)) {
            let message = "there is no such subnet in this region and account";
            return Err(CloudError::new(
                CloudErrorKind::NotFound,
                DescribeSubnets::NAME,
                missing,
                message,
            ));
        }
        let mut places = self.places.lock();
        places.extend(found.iter().map(|subnet| (subnet.id.clone(), subnet.clone())));
        Ok(found)
    }

    /// A subnet whose place is known, or is read now.
    pub(super) async fn place(&self, id: &SubnetId) -> CloudResult<Subnet> {
        if let Some(subnet) = self.places.lock().get(id).cloned() {
            return Ok(subnet);
        }
        let listed = self.list_subnets(std::slice::from_ref(id)).await?;
        let found = listed.into_iter().find(|subnet| subnet.id == *id);
        found.ok_or_else(|| senseless(DescribeSubnets::NAME, id.as_str(), "another subnet was listed"))
    }

    /// One request of a listing. The pacer counts the first one; a later one that comes too fast is repeated
    /// here, because repeating the whole would take more requests.
    async fn page<A: Action>(&self, request: &A, resource: &str, read: usize) -> Result<A::Answer, Failure> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.send(request, resource).await {
                Err(failure) if read > 0 && failure.class() == Some(Class::Throttled) => {}
                result => return result,
            }
            let span = pause.as_nanos() as u64;
            sleep(pause + Duration::from_nanos(self.random() % span)).await;
            pause *= 2;
        }
        self.send(request, resource).await
    }
}

fn filters(filter: &EniFilter) -> Vec<Filter> {
    match filter {
        EniFilter::Ids(ids) => vec![Filter::new(
            "network-interface-id",
            ids.iter().map(EniId::to_string),
        )],
        EniFilter::Instance(id) => vec![Filter::new("attachment.instance-id", [id.to_string()])],
        EniFilter::Tags(tags) => {
            let filter =
                |(key, value): (&String, &String)| Filter::new(format!("tag:{key}"), [value.clone()]);
            tags.iter().map(filter).collect()
        }
    }
}

/// What a listing is about.
pub(super) fn words(filter: &EniFilter) -> String {
    match filter {
        EniFilter::Ids(ids) => join(ids),
        EniFilter::Instance(id) => id.to_string(),
        EniFilter::Tags(tags) => tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","),
    }
}

pub(super) fn join<T: fmt::Display>(ids: &[T]) -> String {
    ids.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
