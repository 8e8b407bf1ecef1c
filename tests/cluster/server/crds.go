package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	client "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// installCRDs applies every file of a folder, one definition each, and returns when the API server serves them all.
func installCRDs(ctx context.Context, kubeconfig, folder string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	all, err := clientset.NewForConfig(config)
	if err != nil {
		return err
	}
	definitions := all.ApiextensionsV1().CustomResourceDefinitions()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %s", folder)
	}
	var names []string
	for _, file := range files {
		name, err := applyCRD(ctx, definitions, file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		names = append(names, name)
	}
	return waitEstablished(ctx, definitions, names)
}

// applyCRD uses server-side apply, which does not care whether an earlier start has left the definition there.
func applyCRD(ctx context.Context, definitions client.CustomResourceDefinitionInterface, file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var definition metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(content, &definition); err != nil {
		return "", err
	}
	body, err := yaml.YAMLToJSON(content)
	if err != nil {
		return "", err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: "cluster", Force: &force}
	_, err = definitions.Patch(ctx, definition.Name, types.ApplyPatchType, body, options)
	return definition.Name, err
}

func waitEstablished(ctx context.Context, definitions client.CustomResourceDefinitionInterface, names []string) error {
	for _, name := range names {
		err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			definition, err := definitions.Get(ctx, name, metav1.GetOptions{})
			return err == nil && isEstablished(definition), err
		})
		if err != nil {
			return fmt.Errorf("%s is not established: %w", name, err)
		}
	}
	return nil
}

func isEstablished(definition *apiextensionsv1.CustomResourceDefinition) bool {
	for _, condition := range definition.Status.Conditions {
		if condition.Type == apiextensionsv1.Established {
			return condition.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}
