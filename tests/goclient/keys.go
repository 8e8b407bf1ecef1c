package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
)

const rsaExponent = 65537

// keySource gives the i-th of count distinct keys.
func keySource(kind string, count int) (func(i int) (crypto.Signer, error), error) {
	switch kind {
	case "ec":
		return func(int) (crypto.Signer, error) { return newEC() }, nil
	case "rsa":
		return rsaSource(count)
	}
	return nil, fmt.Errorf("-key %q: want ec or rsa", kind)
}

// rsaSource pairs few primes into many moduli. A fresh RSA key costs tens of milliseconds, thousands of them minutes;
// a load needs keys that differ, not keys that are secret.
func rsaSource(count int) (func(i int) (crypto.Signer, error), error) {
	var primes []*big.Int
	for len(primes)*(len(primes)-1)/2 < count {
		prime, err := rsaPrime()
		if err != nil {
			return nil, err
		}
		primes = append(primes, prime)
	}
	pairs := make([][2]*big.Int, 0, count)
	for i, p := range primes {
		for _, q := range primes[:i] {
			pairs = append(pairs, [2]*big.Int{p, q})
		}
	}
	return func(i int) (crypto.Signer, error) { return rsaFrom(pairs[i][0], pairs[i][1]) }, nil
}

// rsaPrime finds a 1024-bit prime whose predecessor shares no factor with the exponent.
func rsaPrime() (*big.Int, error) {
	exponent := big.NewInt(rsaExponent)
	for {
		prime, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			return nil, err
		}
		if new(big.Int).Mod(less1(prime), exponent).Sign() != 0 {
			return prime, nil
		}
	}
}

func rsaFrom(p, q *big.Int) (crypto.Signer, error) {
	order := new(big.Int).Mul(less1(p), less1(q))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: rsaExponent},
		D:         new(big.Int).ModInverse(big.NewInt(rsaExponent), order),
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	return key, key.Validate()
}

func less1(n *big.Int) *big.Int { return new(big.Int).Sub(n, big.NewInt(1)) }
