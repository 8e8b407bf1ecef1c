package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
)

const (
	apiServerStartLimit = 60 * time.Second
	readyPollInterval   = 50 * time.Millisecond
	issuer              = "https://kubernetes.default.svc"
)

// auditPolicy notes each call once, when it ends, without bodies: tests count calls.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// apiServer is a kube-apiserver running in this process.
type apiServer struct {
	port    int
	release func()
	ended   chan struct{}
	err     error
}

func startAPIServer(command *cobra.Command, options options, state *state, etcd string) (*apiServer, error) {
	server := &apiServer{port: options.port, release: func() {}, ended: make(chan struct{})}
	flags := append(commonFlags(etcd), secretFlags(state.secrets)...)
	if options.port == 0 {
		var err error
		if server.port, server.release, err = reservePort(); err != nil {
			return nil, err
		}
		flags = append(flags, "--permit-port-sharing=true")
	}
	if options.audit {
		if err := writeFile(state.path("audit-policy.yaml"), []byte(auditPolicy)); err != nil {
			return nil, err
		}
		flags = append(flags, auditFlags(state)...)
	}
	command.SetArgs(append(flags, "--secure-port="+strconv.Itoa(server.port)))
	go server.run(command)
	return server, nil
}

func (s *apiServer) run(command *cobra.Command) {
	defer close(s.ended)
	s.err = cli.RunNoErrOutput(command)
	s.release()
}

// wait blocks until the server has ended.
func (s *apiServer) wait() error {
	<-s.ended
	return s.err
}

// waitReady polls /readyz, which covers the post-start hooks (default namespaces, RBAC roles) as well.
func (s *apiServer) waitReady(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // The default of 5/s would slow the poll down.
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, readyPollInterval, apiServerStartLimit, true, func(ctx context.Context) (bool, error) {
		select {
		case <-s.ended:
			return false, fmt.Errorf("ended while starting: %w", s.err)
		default:
		}
		_, last = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("not ready: %w", last)
	}
	return err
}

func commonFlags(etcd string) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// The reconciler would refuse a loopback address as an endpoint of the Service "kubernetes".
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		// Without a controller manager no namespace gets its default service account, which this plugin insists on.
		"--disable-admission-plugins=ServiceAccount",
		"--feature-gates=ClusterTrustBundle=true",
		"--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true",
		"--profiling=false",
	}
}

func secretFlags(secrets secrets) []string {
	return []string{
		"--token-auth-file=" + secrets.tokenFile,
		"--tls-cert-file=" + secrets.servingCertificate,
		"--tls-private-key-file=" + secrets.servingKey,
		"--service-account-issuer=" + issuer,
		"--api-audiences=" + issuer,
		"--service-account-key-file=" + secrets.serviceAccountKey,
		"--service-account-signing-key-file=" + secrets.serviceAccountKey,
	}
}

func auditFlags(state *state) []string {
	return []string{"--audit-policy-file=" + state.path("audit-policy.yaml"), "--audit-log-path=" + state.path("audit.log")}
}
