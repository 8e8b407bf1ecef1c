package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// state is the directory a cluster lives in. Everything in it outlasts the process, so that a second start resumes.
type state struct {
	directory string
	lock      *os.File
	secrets   secrets
}

// openState makes the directory ready and takes it for this process alone.
func openState(directory string) (*state, error) {
	for _, folder := range []string{directory, filepath.Join(directory, "etcd")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
	}
	lock, err := lockFile(filepath.Join(directory, "lock"))
	if err != nil {
		return nil, err
	}
	state := &state{directory: directory, lock: lock}
	// A kubeconfig left by an earlier run would tell a waiting test that this one is ready.
	if err := os.Remove(state.path("kubeconfig")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	state.secrets, err = openSecrets(state)
	return state, err
}

func (s *state) path(name string) string { return filepath.Join(s.directory, name) }

func (s *state) close() { _ = s.lock.Close() }

// lockFile refuses a directory in use at once: etcd would wait for its own lock without an end.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another cluster runs in %s: %w", filepath.Dir(path), err)
	}
	return file, nil
}

// redirectOutput points the standard descriptors at cluster.log and returns what they were.
// The descriptors themselves are moved, not the Go variables, so that the trace of a panic lands in the log as well.
func (s *state) redirectOutput() (stdout, stderr *os.File, err error) {
	log, err := os.OpenFile(s.path("cluster.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return os.Stdout, os.Stderr, err
	}
	defer log.Close()
	if stdout, err = moveTo(log, unix.Stdout); err != nil {
		return os.Stdout, os.Stderr, err
	}
	stderr, err = moveTo(log, unix.Stderr)
	return stdout, stderr, err
}

func moveTo(target *os.File, descriptor int) (*os.File, error) {
	saved, err := unix.FcntlInt(uintptr(descriptor), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(saved), "terminal"), unix.Dup2(int(target.Fd()), descriptor)
}

// writeKubeconfig writes the administrator's kubeconfig, certificates and token inside, at mode 0600.
func (s *state) writeKubeconfig(path string, port int) error {
	authority, err := os.ReadFile(s.secrets.servingCertificate)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{
		Server:                   fmt.Sprintf("https://127.0.0.1:%d", port),
		CertificateAuthorityData: authority,
	}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: s.secrets.adminToken}
	config.Contexts["admin"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "admin"}
	config.CurrentContext = "admin"
	return clientcmd.WriteToFile(*config, path)
}
