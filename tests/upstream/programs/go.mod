module multus-rs/tests/upstream/programs

go 1.26

require gopkg.in/k8snetworkplumbingwg/multus-cni.v4 v4.3.0
require github.com/k8snetworkplumbingwg/whereabouts v0.9.4
