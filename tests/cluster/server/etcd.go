package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const etcdStartLimit = 30 * time.Second

// database is a running etcd, and where it answers.
type database struct {
	*embed.Etcd
	endpoint string
	release  func()
}

func (d *database) close() {
	d.Etcd.Close()
	d.release()
}

// startEtcd serves the data under directory, making it at the first start, and returns when it answers.
func startEtcd(ctx context.Context, directory string) (*database, error) {
	port, release, err := reservePort()
	if err != nil {
		return nil, err
	}
	endpoint := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	server, err := embed.StartEtcd(etcdConfig(directory, endpoint))
	if err != nil {
		release()
		return nil, err
	}
	started := &database{server, endpoint.String(), release}
	if err := waitForEtcd(ctx, server); err != nil {
		started.close()
		return nil, err
	}
	return started, nil
}

func etcdConfig(directory string, endpoint url.URL) *embed.Config {
	config := embed.NewConfig()
	config.Name = "cluster"
	config.Dir = directory
	config.LogLevel = "warn"
	// Left at zero, the library would warn of every request.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	// What was written survives the death of this process, and a test does not need more.
	config.UnsafeNoFsync = true
	config.SocketOpts.ReusePort = true
	config.ListenClientUrls = []url.URL{endpoint}
	config.AdvertiseClientUrls = config.ListenClientUrls
	// One member has no peers: the advertised URL is only its name in the stored membership.
	config.ListenPeerUrls = nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	return config
}

func waitForEtcd(ctx context.Context, server *embed.Etcd) error {
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case err := <-server.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(etcdStartLimit):
		return errors.New("did not start within " + etcdStartLimit.String())
	}
}
