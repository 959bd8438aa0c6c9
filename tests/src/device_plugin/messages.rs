//! The messages of `v1beta1.Registration` and `v1beta1.DevicePlugin` (k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1), as far as they are used.

/// A request or an answer without content.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// What the plugin tells the kubelet about itself. Our plugin has no option.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegisterRequest {
    /// The version of the API.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The file name of its socket, in the folder of the kubelet's.
    #[prost(string, tag = "2")]
    pub endpoint: String,
    /// The resource.
    #[prost(string, tag = "3")]
    pub resource_name: String,
}

/// All devices of the resource.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListAndWatchResponse {
    /// The devices.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Device {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `Healthy` or `Unhealthy`.
    #[prost(string, tag = "2")]
    pub health: String,
}

/// The devices that the kubelet has chosen for a pod.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AllocateRequest {
    /// One for each container.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<ContainerRequest>,
}

/// The devices that the kubelet has chosen for a container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerRequest {
    /// Their ids.
    #[prost(string, repeated, tag = "1")]
    pub ids: Vec<String>,
}

/// What the containers need for their devices.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AllocateResponse {
    /// One for each container: nothing.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Empty>,
}
