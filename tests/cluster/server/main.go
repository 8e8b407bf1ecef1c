// Command cluster runs what the tests need of a Kubernetes cluster in one process: etcd, kube-apiserver and, if asked,
// the controllers of cert-manager. There are no nodes: a pod is an object, and its tokens are real.
//
// It is ready once DIRECTORY/kubeconfig exists, and it ends on SIGTERM, on SIGINT or with its standard input.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// shutdownLimit bounds the way out: a test run must never wait for a server that cannot end.
const shutdownLimit = 10 * time.Second

func main() {
	options, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // The flag package has told why.
	}
	serve := func() error { return run(options, os.Stderr) }
	if options.controllersOf != "" {
		serve = func() error { return serveControllers(options) }
	}
	if err := serve(); err != nil {
		os.Exit(1)
	}
}

// run opens the directory, moves all output to its log and serves until it is told to end.
// An error goes both to the log and to the terminal, for the caller may look at only one of them.
func run(options options, terminal *os.File) error {
	state, err := openState(options.directory)
	if err != nil {
		fmt.Fprintf(terminal, "cluster: %v\n", err)
		return err
	}
	defer state.close()
	stdout, stderr, err := state.redirectOutput()
	if err == nil {
		err = serve(options, state, stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		fmt.Fprintf(stderr, "cluster: %v (see %s)\n", err, state.path("cluster.log"))
	}
	return err
}

// serve starts the parts in the order of their need, announces the result and waits for the end.
func serve(options options, state *state, stdout io.Writer) error {
	// The command installs the process's only signal handler, whose context all parts share.
	command := app.NewAPIServerCommand()
	ctx := command.Context()
	context.AfterFunc(ctx, func() { time.AfterFunc(shutdownLimit, func() { os.Exit(3) }) })
	if options.exitWithStdin {
		go stopAtEndOf(os.Stdin)
	}
	database, err := startEtcd(ctx, state.path("etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer database.close()
	server, err := startAPIServer(command, options, state, database.endpoint)
	if err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	if err := announce(ctx, options, state, server, stdout); err != nil {
		genericapiserver.RequestShutdown()
		return errors.Join(err, server.wait())
	}
	return server.wait()
}

// announce waits until all parts work, then publishes the kubeconfig: its presence says "ready".
func announce(ctx context.Context, options options, state *state, server *apiServer, stdout io.Writer) error {
	pending := state.path("kubeconfig.pending")
	if err := state.writeKubeconfig(pending, server.port); err != nil {
		return err
	}
	if err := server.waitReady(ctx, pending); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	if options.certManager {
		if err := startCertManager(ctx, pending, options.crds); err != nil {
			return fmt.Errorf("cert-manager: %w", err)
		}
	}
	if err := os.Rename(pending, state.path("kubeconfig")); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "ready: https://127.0.0.1:%d, kubeconfig %s\n", server.port, state.path("kubeconfig"))
	return nil
}

// stopAtEndOf ends the process together with the one that holds the other end of its input, however that one died.
func stopAtEndOf(input io.Reader) {
	readToEnd(input)
	genericapiserver.RequestShutdown()
}

func readToEnd(input io.Reader) { _, _ = io.Copy(io.Discard, input) }
