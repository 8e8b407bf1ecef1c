package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	// Each of these registers itself. ACME and Venafi are not needed.
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/vault"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificatesigningrequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/vault"
)

const (
	// certManagerNamespace holds the secrets of ClusterIssuers, as in an ordinary installation.
	certManagerNamespace  = "cert-manager"
	certManagerStartLimit = 30 * time.Second
	workersPerController  = 4
)

// startCertManager installs the CRDs, runs the controllers until ctx ends and returns when their caches are filled.
func startCertManager(ctx context.Context, kubeconfig, crds string) error {
	starting, cancel := context.WithTimeout(ctx, certManagerStartLimit)
	defer cancel()
	if err := installCRDs(starting, kubeconfig, crds); err != nil {
		return err
	}
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:    kubeconfig,
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: certManagerNamespace},
	})
	if err != nil {
		return err
	}
	shared, err := factory.Build("cluster")
	if err != nil {
		return err
	}
	if err := createNamespace(starting, shared); err != nil {
		return err
	}
	// The controllers ask for their informers while they are built, so the informers start after all of them.
	if err := runControllers(ctx, factory); err != nil {
		return err
	}
	return startInformers(ctx, starting, shared)
}

func createNamespace(ctx context.Context, shared *controller.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: certManagerNamespace}}
	_, err := shared.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func runControllers(ctx context.Context, factory *controller.ContextFactory) error {
	for name, construct := range controller.Known() {
		built, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		go func() {
			if err := built.Run(workersPerController, ctx); err != nil && ctx.Err() == nil {
				klog.ErrorS(err, "controller ended", "controller", name)
			}
		}()
	}
	return nil
}

func startInformers(ctx, starting context.Context, shared *controller.Context) error {
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	shared.SharedInformerFactory.WaitForCacheSync(starting.Done())
	shared.KubeSharedInformerFactory.WaitForCacheSync(starting.Done())
	if starting.Err() != nil {
		return errors.New("its caches were not filled within " + certManagerStartLimit.String())
	}
	return nil
}
