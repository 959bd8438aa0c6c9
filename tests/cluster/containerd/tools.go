//go:build tools

// Package tools names the programs of containerd that a cluster with MRS_CONTAINERD=2 runs: go.sum fixes their source.
package tools

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
