//go:build tools

// Package controller names kapp-controller, so that go.mod keeps its module. It needs other versions of Kubernetes' modules than ../tools.
package controller

import _ "carvel.dev/kapp-controller/cmd/controller"
