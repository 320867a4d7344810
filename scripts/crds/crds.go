// Package crds pins, through its imports, go.mod and go.sum, the API types that
// ../generate-crds makes CustomResourceDefinitions of. It is never linked into a program.
package crds

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
)
