"""Drives the simulator by Tencent's own SDK: client.py CASE METHOD HOST:PORT SECRET_ID SECRET_KEY.

A case is a function below. It fails by an exception.
"""

import json
import sys
import time
import urllib.request

from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.cvm.v20170312 import cvm_client, models as cvm
from tencentcloud.vpc.v20170312 import models as vpc, vpc_client

CASE, METHOD, ENDPOINT, SECRET_ID, SECRET_KEY = sys.argv[1:]
VPC = "vpc-sim00001"
SUBNET = "subnet-pods3000"
FIRST, SECOND, ELSEWHERE = "ins-sim00001", "ins-sim00002", "ins-sim00003"


def client(module, kind, secret_id=SECRET_ID, secret_key=SECRET_KEY):
    http = HttpProfile(protocol="http", endpoint=ENDPOINT, reqMethod=METHOD, reqTimeout=10)
    profile = ClientProfile(httpProfile=http)
    return getattr(module, kind)(credential.Credential(secret_id, secret_key), "ap-guangzhou", profile)


VPC_CLIENT = client(vpc_client, "VpcClient")
CVM_CLIENT = client(cvm_client, "CvmClient")


def call(action, _client=None, **parameters):
    models = cvm if action == "DescribeInstances" else vpc
    request = getattr(models, action + "Request")()
    request.from_json_string(json.dumps(parameters))
    used = _client or (CVM_CLIENT if models is cvm else VPC_CLIENT)
    return getattr(used, action)(request)


def refused(code, action, **parameters):
    try:
        call(action, **parameters)
    except TencentCloudSDKException as error:
        assert error.get_code() == code, f"{action}: {error} instead of {code}"
        assert error.get_request_id() or code.endswith("NetworkError") or code == "ChunkedEncodingError", error
        return
    raise AssertionError(f"{action} was not refused by {code}")


def until(what, look):
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def shown(eni):
    found = call("DescribeNetworkInterfaces", Filters=[{"Name": "network-interface-id", "Values": [eni]}])
    assert found.TotalCount == len(found.NetworkInterfaceSet) <= 1
    return found.NetworkInterfaceSet[0] if found.NetworkInterfaceSet else None


def finished(response):
    until("the end of a task", lambda: call("DescribeVpcTaskResult", TaskId=response.RequestId).Status == "SUCCESS")


def created(name, **more):
    response = call("CreateNetworkInterface", VpcId=VPC, SubnetId=SUBNET, NetworkInterfaceName=name, **more)
    eni = response.NetworkInterface
    assert eni.State == "PENDING" and eni.PrivateIpAddressSet[0].State == "PENDING"
    finished(response)
    until("available", lambda: shown(eni.NetworkInterfaceId).State == "AVAILABLE")
    return eni.NetworkInterfaceId


def secondary(eni):
    return [a.PrivateIpAddress for a in shown(eni).PrivateIpAddressSet if not a.Primary]


def life_of_an_eni():
    eni = created("pods", SecondaryPrivateIpAddressCount=1, Tags=[{"Key": "cluster", "Value": "c"}])
    assert shown(eni).TagSet[0].Value == "c"
    finished(call("AttachNetworkInterface", NetworkInterfaceId=eni, InstanceId=FIRST))
    until("attached", lambda: shown(eni).NetworkInterfaceState == "INUSE")
    assert shown(eni).Attachment.InstanceId == FIRST
    on = call("DescribeNetworkInterfaces", Filters=[{"Name": "attachment.instance-id", "Values": [FIRST]}])
    assert [e.Primary for e in on.NetworkInterfaceSet] == [True, False]

    response = call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=2)
    assert [a.State for a in response.PrivateIpAddressSet] == ["PENDING", "PENDING"]
    finished(response)
    named = [{"PrivateIpAddress": "10.0.20.9", "Description": "pod/名前 & more"}]
    finished(call("AssignPrivateIpAddresses", NetworkInterfaceId=eni, PrivateIpAddresses=named))
    assert len(secondary(eni)) == 4
    described = [a.Description for a in shown(eni).PrivateIpAddressSet if a.PrivateIpAddress == "10.0.20.9"]
    assert described == ["pod/名前 & more"], described

    other = created("other")
    finished(call("MigratePrivateIpAddress", SourceNetworkInterfaceId=eni, DestinationNetworkInterfaceId=other,
                  PrivateIpAddress="10.0.20.9"))
    assert secondary(other) == ["10.0.20.9"] and "10.0.20.9" not in secondary(eni)

    leaving = [{"PrivateIpAddress": ip} for ip in secondary(eni)]
    finished(call("UnassignPrivateIpAddresses", NetworkInterfaceId=eni, PrivateIpAddresses=leaving))
    assert secondary(eni) == []
    finished(call("MigrateNetworkInterface", NetworkInterfaceId=eni, SourceInstanceId=FIRST,
                  DestinationInstanceId=SECOND))
    assert shown(eni).Attachment.InstanceId == SECOND
    finished(call("DetachNetworkInterface", NetworkInterfaceId=eni, InstanceId=SECOND))
    assert shown(eni).Attachment is None
    for gone in (eni, other):
        finished(call("DeleteNetworkInterface", NetworkInterfaceId=gone))
        assert shown(gone) is None
        refused("ResourceNotFound", "DeleteNetworkInterface", NetworkInterfaceId=gone)


def eip(address):
    return call("DescribeAddresses", AddressIds=[address]).AddressSet[0]


def public_addresses():
    eni = created("public", SecondaryPrivateIpAddressCount=1)
    finished(call("AttachNetworkInterface", NetworkInterfaceId=eni, InstanceId=FIRST))
    allocated = call("AllocateAddresses", AddressCount=1, AddressName="web", InternetMaxBandwidthOut=10)
    address = allocated.AddressSet[0]
    until("allocated", lambda: call("DescribeTaskResult", TaskId=int(allocated.TaskId)).Result == "SUCCESS")
    assert eip(address).AddressStatus == "UNBIND"
    bind = dict(AddressId=address, NetworkInterfaceId=eni, PrivateIpAddress=secondary(eni)[0])
    call("AssociateAddress", **bind)
    until("bound", lambda: eip(address).AddressStatus == "BIND")
    assert eip(address).PrivateAddressIp == secondary(eni)[0] and eip(address).InstanceId == FIRST
    assert [a.AddressId for a in shown(eni).PrivateIpAddressSet] == ["", address]
    refused("UnsupportedOperation.AddressStatusNotPermit", "AssociateAddress", **bind)
    call("DisassociateAddress", AddressId=address)
    until("unbound", lambda: eip(address).AddressStatus == "UNBIND")
    call("ReleaseAddresses", AddressIds=[address])
    until("released", lambda: call("DescribeAddresses").TotalCount == 0)
    refused("InvalidAddressId.NotFound", "ReleaseAddresses", AddressIds=[address])


def places():
    subnets = call("DescribeSubnets", Filters=[{"Name": "vpc-id", "Values": [VPC]}], Limit="3")
    assert subnets.TotalCount == 4 and len(subnets.SubnetSet) == 3
    one = call("DescribeSubnets", SubnetIds=[SUBNET]).SubnetSet[0]
    assert one.CidrBlock == "10.0.16.0/20" and one.TotalIpAddressCount == 4093
    assert call("DescribeVpcs").VpcSet[0].VpcId == VPC
    limit = call("DescribeNetworkInterfaceLimit", InstanceId=FIRST)
    assert (limit.EniQuantity, limit.EniPrivateIpAddressQuantity) == (4, 10)
    instances = call("DescribeInstances", InstanceIds=[FIRST, ELSEWHERE], Offset=0, Limit=10)
    assert instances.TotalCount == 2
    assert instances.InstanceSet[0].VirtualPrivateCloud.VpcId == VPC
    assert instances.InstanceSet[0].InstanceState == "RUNNING"


def errors():
    eni = created("errors")
    refused("UnsupportedOperation.ZoneMismatch", "AttachNetworkInterface", NetworkInterfaceId=eni, InstanceId=ELSEWHERE)
    refused("ResourceNotFound", "AttachNetworkInterface", NetworkInterfaceId="eni-00000000", InstanceId=FIRST)
    refused("InvalidParameterValue.Malformed", "DeleteNetworkInterface", NetworkInterfaceId="nonsense")
    refused("MissingParameter", "DeleteNetworkInterface")
    refused("MissingParameter", "AssignPrivateIpAddresses", NetworkInterfaceId=eni)
    many = [{"PrivateIpAddress": f"10.0.20.{n}"} for n in range(10, 21)]
    refused("InvalidParameterValue.LimitExceeded", "AssignPrivateIpAddresses", NetworkInterfaceId=eni,
            PrivateIpAddresses=many)
    refused("InvalidParameter.Coexist", "DescribeNetworkInterfaces", NetworkInterfaceIds=[eni],
            Filters=[{"Name": "vpc-id", "Values": [VPC]}])
    refused("InvalidParameter.FilterInvalidKey", "DescribeNetworkInterfaces",
            Filters=[{"Name": "nonsense", "Values": ["x"]}])
    once = dict(VpcId=VPC, SubnetId=SUBNET, ClientToken="token")
    first = call("CreateNetworkInterface", NetworkInterfaceName="once", **once)
    again = call("CreateNetworkInterface", NetworkInterfaceName="once", **once)
    assert first.NetworkInterface.NetworkInterfaceId == again.NetworkInterface.NetworkInterfaceId
    refused("UnsupportedOperation.IdempotentParameterMismatch", "CreateNetworkInterface",
            NetworkInterfaceName="other", **once)
    for secret_id, secret_key, code in (
        (SECRET_ID, "wrong", "AuthFailure.SignatureFailure"),
        ("AKIDother", SECRET_KEY, "AuthFailure.SecretIdNotFound"),
    ):
        stranger = client(vpc_client, "VpcClient", secret_id, secret_key)
        refused(code, "DescribeVpcs", _client=stranger)


def fault(**rule):
    body = json.dumps({"rules": [rule]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{ENDPOINT}/_sim/faults", body, headers, method="PUT")
    urllib.request.urlopen(request).close()


def faults():
    for kind, code in (
        ({"kind": "throttle"}, "RequestLimitExceeded"),
        ({"kind": "refuse", "code": "InternalError"}, "InternalError"),
        ({"kind": "fail-after", "code": "InternalError"}, "InternalError"),
        ({"kind": "status", "status": 503}, "ServerNetworkError"),
        ({"kind": "lose-reply"}, "ClientNetworkError"),
        ({"kind": "truncate"}, "ChunkedEncodingError"),
    ):
        fault(fault=kind)
        refused(code, "DescribeVpcs")
    call("DescribeVpcs")


{f.__name__: f for f in (life_of_an_eni, public_addresses, places, errors, faults)}[CASE]()
