//go:build tools

// Package tools names the packaging tools, so that go.mod keeps their modules.
package tools

import (
	_ "carvel.dev/imgpkg/cmd/imgpkg"
	_ "carvel.dev/kapp/cmd/kapp"
	_ "carvel.dev/kbld/cmd/kbld"
	_ "carvel.dev/vendir/cmd/vendir"
	_ "carvel.dev/ytt/cmd/ytt"
	_ "helm.sh/helm/v4/cmd/helm"
)
