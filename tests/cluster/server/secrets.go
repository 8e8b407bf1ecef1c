package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/csv"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"k8s.io/client-go/util/cert"
)

// secrets are made at the first start and kept, so that tokens stay good over a restart. All files have mode 0600.
type secrets struct {
	serviceAccountKey  string
	tokenFile          string
	adminToken         string
	servingCertificate string
	servingKey         string
}

func openSecrets(state *state) (secrets, error) {
	opened := secrets{
		serviceAccountKey:  state.path("service-account.key"),
		tokenFile:          state.path("tokens.csv"),
		servingCertificate: state.path("apiserver.crt"),
		servingKey:         state.path("apiserver.key"),
	}
	// The certificate is written after its key: where it is, both are whole.
	err := errors.Join(
		unlessExists(opened.serviceAccountKey, makeServiceAccountKey),
		unlessExists(opened.tokenFile, makeTokenFile),
		unlessExists(opened.servingCertificate, func() ([]byte, error) { return makeServingPair(opened.servingKey) }),
	)
	if err != nil {
		return secrets{}, err
	}
	opened.adminToken, err = readToken(opened.tokenFile)
	return opened, err
}

func unlessExists(path string, produce func() ([]byte, error)) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	content, err := produce()
	if err != nil {
		return err
	}
	return writeFile(path, content)
}

// writeFile leaves either the old file or the whole new one, never a part, even if the process is killed.
func writeFile(path string, content []byte) error {
	pending := path + ".pending"
	if err := os.WriteFile(pending, content, 0o600); err != nil {
		return err
	}
	return os.Rename(pending, path)
}

// makeServiceAccountKey makes an RSA key, the kind that nearly all clusters sign tokens with.
func makeServiceAccountKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return pem.EncodeToMemory(block), nil
}

// makeTokenFile makes the line "token,user,uid,group" that --token-auth-file reads.
func makeTokenFile() ([]byte, error) {
	return fmt.Appendf(nil, "%s,admin,admin,system:masters\n", rand.Text()), nil
}

func readToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	record, err := csv.NewReader(strings.NewReader(string(content))).Read()
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return record[0], nil
}

func makeServingPair(keyPath string) ([]byte, error) {
	names := []string{"localhost", "kubernetes.default.svc"}
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, names)
	if err != nil {
		return nil, err
	}
	return certificate, writeFile(keyPath, key)
}
