//go:build tools

// Package tools names the program, so that go.mod keeps its module.
package tools

import _ "github.com/containernetworking/plugins/plugins/meta/flannel"
