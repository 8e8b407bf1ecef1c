package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Without this list a TLS 1.1 client could not even offer a suite, and the server would have nothing to refuse.
var cbcSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
}

var gcmSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
}

// profiles are the offers of real clients, and one of a client that must be refused.
var profiles = map[string]func(*tls.Config){
	// The agent.
	"default": func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 },
	// The agent with COMPLIANCE_POLICY=fips-140-2.
	"tls12-fips": func(c *tls.Config) {
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		c.CipherSuites, c.CurvePreferences = gcmSuites, []tls.CurveID{tls.CurveP256}
	},
	// ztunnel: its list has no ChaCha20. See onlyAESGCM for how Go is brought to that.
	"tls13-aesgcm": func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
	// The agent with COMPLIANCE_POLICY=pqc.
	"pqc": func(c *tls.Config) {
		c.MinVersion, c.CurvePreferences = tls.VersionTLS13, []tls.CurveID{tls.X25519MLKEM768}
	},
	"tls11": func(c *tls.Config) {
		c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS11, tls.VersionTLS11, cbcSuites
	},
}

// config makes the TLS configuration that the flags ask for. It may restart the process (onlyAESGCM).
func (f *target) config() (*tls.Config, error) {
	apply, ok := profiles[f.profile]
	if !ok {
		return nil, fmt.Errorf("-tls %q: unknown profile", f.profile)
	}
	if f.profile == "tls13-aesgcm" {
		if err := onlyAESGCM(); err != nil {
			return nil, err
		}
	}
	roots, err := pool(f.root)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: roots, ServerName: f.serverName}
	apply(c)
	return c, f.clientCertificate(c)
}

// onlyAESGCM starts the process again in Go's FIPS mode unless it is in it: crypto/tls lets nobody choose the
// suites of TLS 1.3, but in that mode it offers AES-GCM alone.
func onlyAESGCM() error {
	before := os.Getenv("GODEBUG")
	if strings.Contains(before, "fips140=on") {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	after := strings.TrimPrefix(before+",fips140=on", ",")
	return syscall.Exec(self, os.Args, append(os.Environ(), "GODEBUG="+after))
}

func pool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-root: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("-root %s: no certificate in it", file)
	}
	return roots, nil
}

func (f *target) clientCertificate(c *tls.Config) error {
	if f.clientCert == "" && f.clientKey == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.clientCert, f.clientKey)
	if err != nil {
		return fmt.Errorf("-client-cert, -client-key: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
}
