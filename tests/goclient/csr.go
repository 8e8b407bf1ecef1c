package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
)

var (
	oidSAN          = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
)

// uriTag is uniformResourceIdentifier in RFC 5280's GeneralName.
const uriTag = 6

// shape is how one kind of client builds its CSR.
type shape struct {
	newKey   func() (crypto.Signer, error)
	subject  pkix.Name
	critical bool
}

// shapes: the agent always sets its organization option, which is empty unless a VM's set-up fills it, so a relative
// name with an empty value goes out. ztunnel sends no relative name at all and leaves the SAN uncritical.
var shapes = map[string]shape{
	"agent":   {newKey: newRSA, subject: pkix.Name{Organization: []string{""}}, critical: true},
	"ztunnel": {newKey: newEC},
}

func newRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }

func newEC() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// csr makes a PEM request for the URI; none is put in when uri is empty.
func (s shape) csr(key crypto.Signer, uri string) (string, error) {
	template := &x509.CertificateRequest{Subject: s.subject}
	if uri != "" {
		san, err := uriSAN(uri, s.critical)
		if err != nil {
			return "", err
		}
		template.ExtraExtensions = []pkix.Extension{san}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", err
	}
	if err := s.verify(der); err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

func uriSAN(uri string, critical bool) (pkix.Extension, error) {
	name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: uriTag, Bytes: []byte(uri)}
	value, err := asn1.Marshal([]asn1.RawValue{name})
	return pkix.Extension{Id: oidSAN, Critical: critical, Value: value}, err
}

// verify reads the request back: a shape that crypto/x509 has quietly tidied up would prove nothing.
func (s shape) verify(der []byte) error {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	var names pkix.RDNSequence
	if _, err := asn1.Unmarshal(request.RawSubject, &names); err != nil {
		return err
	}
	if len(names) != len(s.subject.Organization) {
		return fmt.Errorf("subject has %d relative names, not %d", len(names), len(s.subject.Organization))
	}
	for _, name := range names {
		if len(name) != 1 || !name[0].Type.Equal(oidOrganization) || name[0].Value != "" {
			return fmt.Errorf("subject is %v, not an empty O", names)
		}
	}
	for _, extension := range request.Extensions {
		if extension.Id.Equal(oidSAN) && extension.Critical != s.critical {
			return errors.New("criticality of the SAN was lost")
		}
	}
	return request.CheckSignature()
}

// keyPEM gives the key as PKCS #8, which Envoy, OpenSSL and pyca all read.
func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
