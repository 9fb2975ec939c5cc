package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/provider/keys"
	"github.com/lettergate/lettergate/provider/storage"
)

// What Sign makes, Verify and a library that nobody here wrote accept.
func TestSign(t *testing.T) {
	r := loaded(t, keys.Config{Store: openStore(t, nil), Algorithms: all()})
	claims := struct {
		Sub  string `json:"sub"`
		Name string `json:"name"`
	}{"s1", "<Ann & Bob>"}
	const want = `{"sub":"s1","name":"<Ann & Bob>"}`
	published := r.PublicKeys()
	for _, alg := range all() {
		for _, typ := range []string{"at+jwt", "JWT", "logout+jwt", "secevent+jwt", ""} {
			token, err := r.Sign(alg, typ, claims)
			if err != nil {
				t.Fatal(err)
			}
			gotAlg, kid, payload, err := r.Verify(token, typ)
			if err != nil || gotAlg != alg || string(payload) != want {
				t.Fatalf("%s %q: %s, %s, %v", alg, typ, gotAlg, payload, err)
			}
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			if other, err := jws.Verify(published.Key(kid)[0]); err != nil || string(other) != want {
				t.Errorf("%s: go-jose: %s, %v", alg, other, err)
			}
			head, err := base64.RawURLEncoding.DecodeString(token[:strings.Index(token, ".")])
			if err != nil {
				t.Fatal(err)
			}
			header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, alg, kid, typ)
			if typ == "" {
				header = fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid)
			}
			if string(head) != header {
				t.Errorf("header %s, want %s", head, header)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	r := loaded(t, keys.Config{Store: openStore(t, nil)})
	for name, row := range map[string]struct {
		alg    string
		claims any
	}{
		"another algorithm": {keys.RS256, map[string]any{}},
		"none":              {"none", map[string]any{}},
		"a list":            {keys.ES256, []string{}},
		"null":              {keys.ES256, nil},
		"a channel":         {keys.ES256, make(chan int)},
		"too much":          {keys.ES256, map[string]any{"x": strings.Repeat("x", 13<<10)}},
	} {
		if token, err := r.Sign(row.alg, "JWT", row.claims); err == nil {
			t.Errorf("%s: %.40s", name, token)
		}
	}
}

func TestNotLoaded(t *testing.T) {
	r := newRing(t, keys.Config{Store: openStore(t, nil)})
	if _, err := r.Sign(keys.ES256, "JWT", map[string]any{}); !errors.Is(err, keys.ErrNotLoaded) {
		t.Errorf("Sign: %v", err)
	}
	if _, _, _, err := r.Verify("a.b.c", "JWT"); !errors.Is(err, keys.ErrNotLoaded) {
		t.Errorf("Verify: %v", err)
	}
	if err := r.Run(t.Context()); !errors.Is(err, keys.ErrNotLoaded) {
		t.Errorf("Run: %v", err)
	}
	if err := r.Rotate(t.Context(), true); !errors.Is(err, keys.ErrNotLoaded) {
		t.Errorf("Rotate: %v", err)
	}
	if body, etag := r.JWKS(); string(body) != `{"keys":[]}` || etag == "" || len(r.PublicKeys().Keys) != 0 {
		t.Errorf("JWKS: %s, %s", body, etag)
	}
}

func TestTypes(t *testing.T) {
	r := loaded(t, keys.Config{Store: openStore(t, nil)})
	for _, row := range []struct {
		signed, asked string
		ok            bool
	}{
		{"at+jwt", "AT+JWT", true}, {"at+jwt", "application/at+jwt", true}, {"at+jwt", "Application/AT+jwt", true},
		{"application/at+jwt", "at+jwt", true}, {"JWT", "jwt", true}, {"", "", true},
		{"JWT", "at+jwt", false}, {"at+jwt", "JWT", false}, {"at+jwt", "", false}, {"", "JWT", false},
		{"at+jwt", "text/at+jwt", false}, {"at+jwt ", "at+jwt", false},
	} {
		token, err := r.Sign(keys.ES256, row.signed, map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := r.Verify(token, row.asked); (err == nil) != row.ok || err != nil && !errors.Is(err, keys.ErrInvalid) {
			t.Errorf("signed as %q, asked for %q: %v", row.signed, row.asked, err)
		}
	}
}

func b64(s []byte) string { return base64.RawURLEncoding.EncodeToString(s) }

// RS-07, RS-12: forgeries and other spellings of good tokens.
func TestVerifyRefuses(t *testing.T) {
	r := loaded(t, keys.Config{Store: openStore(t, nil), Algorithms: all()})
	stranger := loaded(t, keys.Config{Store: openStore(t, nil), Algorithms: all()})
	refuse := func(name, token string) {
		t.Helper()
		alg, kid, payload, err := r.Verify(token, "at+jwt")
		if !errors.Is(err, keys.ErrInvalid) || alg != "" || kid != "" || payload != nil {
			t.Errorf("%s: %s, %s, %s, %v", name, alg, kid, payload, err)
		}
	}
	good := map[string][]string{} // by algorithm: the parts
	for _, alg := range all() {
		good[alg] = strings.Split(sign(t, r, alg), ".")
		refuse("a stranger's", sign(t, stranger, alg))
	}
	for _, key := range r.PublicKeys().Keys {
		der, err := x509.MarshalPKIXPublicKey(key.Key)
		if err != nil {
			t.Fatal(err)
		}
		asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		body := good[key.Algorithm][1]
		for _, alg := range []string{"none", "None", "nOnE", "", "HS256", "ES384", "RS512", "RS256", "PS256", "ES256", "EdDSA"} {
			input := b64(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":"at+jwt"}`, alg, key.KeyID)) + "." + body
			for _, secret := range [][]byte{der, asPEM, nil} {
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				refuse("HMAC by the public key as "+alg, input+"."+b64(mac.Sum(nil)))
			}
			refuse("no signature as "+alg, input+".")
			if alg != key.Algorithm {
				refuse("a borrowed signature as "+alg, input+"."+good[key.Algorithm][2])
			}
		}
	}
	es := good[keys.ES256]
	token := strings.Join(es, ".")
	sig, err := base64.RawURLEncoding.DecodeString(es[2])
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
	if err != nil {
		t.Fatal(err)
	}
	refuse("ASN.1 signature", es[0]+"."+es[1]+"."+b64(der))
	refuse("longer signature", es[0]+"."+es[1]+"."+b64(append(make([]byte, 2), sig...)))
	refuse("zero signature", es[0]+"."+es[1]+"."+b64(make([]byte, 64)))
	refuse("another payload", es[0]+"."+b64([]byte(`{"sub":"t"}`))+"."+es[2])

	for i := range token { // every spelling but one
		for _, c := range []string{"", ".", "=", "\n", "\r", " ", "+", "/", "\x00"} {
			if other := token[:i] + c + token[i+1:]; other != token {
				refuse("replaced", other)
			}
			if c != "" {
				refuse("inserted", token[:i]+c+token[i:])
			}
		}
	}
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		for _, part := range []int{len(es[0]), len(es[0]) + 1 + len(es[1]), len(token)} {
			if other := token[:part-1] + string(c) + token[part:]; other != token {
				refuse("another last character", other)
			}
		}
	}
	for _, s := range []string{"", ".", "..", "...", token + ".", "." + token, token + "=", strings.Repeat("A", 17<<10), token + strings.Repeat("A", 17<<10)} {
		refuse("malformed", s)
	}
}

// What the right key has signed is refused all the same when the header is not
// exactly Sign's or the token is too long. The keys are taken from the store.
func TestVerifyRefusesOtherHeaders(t *testing.T) {
	s := openStore(t, nil)
	r := loaded(t, keys.Config{Store: s})
	kid, private := kidOf(t, r, keys.ES256), privateKey(t, s)
	forge := func(header, payload string) string {
		input := b64([]byte(header)) + "." + b64([]byte(payload))
		digest := sha256.Sum256([]byte(input))
		x, y, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + b64(append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...))
	}
	good := fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"at+jwt"}`, kid)
	if _, _, _, err := r.Verify(forge(good, "{}"), "at+jwt"); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{
		`{"alg":"ES256","kid":%q,"typ":"at+jwt","crit":["exp"]}`, `{"alg":"ES256","kid":%q,"typ":"at+jwt","b64":false}`,
		`{"alg":"ES256","kid":%q,"typ":"at+jwt","jku":"https://evil.example"}`, `{"alg":"ES256","kid":%q,"typ":"at+jwt"} {}`,
		`{"alg":"RS256","kid":%q,"typ":"at+jwt"}`, `{"alg":"es256","kid":%q,"typ":"at+jwt"}`, `{"alg":"none","kid":%q,"typ":"at+jwt"}`,
		`{"ALG":"ES256","kid":%q,"typ":"at+jwt"}`, `{"alg":"none","alg":"ES256","kid":%q,"typ":"at+jwt"}`,
		`{"kid":%q,"typ":"at+jwt"}`, ` {"alg":"ES256","kid":%q,"typ":"at+jwt"}`, `{"kid":%q,"alg":"ES256","typ":"at+jwt"}`,
	} {
		if _, _, _, err := r.Verify(forge(fmt.Sprintf(h, kid), "{}"), "at+jwt"); !errors.Is(err, keys.ErrInvalid) {
			t.Errorf(h+": %v", kid, err)
		}
	}
	if _, _, _, err := r.Verify(forge(good, strings.Repeat(" ", 13<<10)), "at+jwt"); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("a long token: %v", err)
	}
}

// privateKey opens the stored set and returns the current ES256 key.
func privateKey(t *testing.T, s storage.Store) *ecdsa.PrivateKey {
	t.Helper()
	var outer struct{ Sealed []byte }
	if err := json.Unmarshal(stored(t, s).Value, &outer); err != nil {
		t.Fatal(err)
	}
	plain, err := secretRing(t, secretA).Open("signing keys", outer.Sealed, []byte("set"))
	if err != nil {
		t.Fatal(err)
	}
	var inner struct {
		Algs map[string]struct{ Current struct{ PKCS8 []byte } }
	}
	if err := json.Unmarshal(plain, &inner); err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(inner.Algs[keys.ES256].Current.PKCS8)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// AS-79: public members only, one kid per key, its RFC 7638 thumbprint.
func TestJWKS(t *testing.T) {
	r := loaded(t, keys.Config{Store: openStore(t, nil), Algorithms: all()})
	if err := r.Rotate(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	body, etag := r.JWKS()
	again, sameTag := r.JWKS()
	if &body[0] != &again[0] || etag != sameTag || len(etag) < 10 || etag[0] != '"' {
		t.Errorf("not rendered once: %s, %s", etag, sameTag)
	}
	if len(body) > 16<<10 {
		t.Errorf("%d bytes", len(body))
	}
	var doc struct{ Keys []map[string]any }
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	algs, kids := map[any]int{}, map[any]bool{}
	for i, k := range doc.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
			if _, there := k[private]; there {
				t.Errorf("key %d shows %s", i, private)
			}
		}
		if k["use"] != "sig" || kids[k["kid"]] {
			t.Errorf("key %d: use %v, kid %v", i, k["use"], k["kid"])
		}
		kids[k["kid"]] = true
		algs[k["alg"]]++
		thumb, err := r.PublicKeys().Keys[i].Thumbprint(crypto.SHA256)
		if err != nil || k["kid"] != b64(thumb) {
			t.Errorf("key %d: kid %v is not the thumbprint (%v)", i, k["kid"], err)
		}
	}
	for _, alg := range all() {
		if algs[alg] != 3 {
			t.Errorf("%d keys of %s, want next, current and previous", algs[alg], alg)
		}
	}
	copied := r.PublicKeys()
	copied.Keys[0] = jose.JSONWebKey{}
	if r.PublicKeys().Keys[0].KeyID == "" {
		t.Error("PublicKeys returns the ring's own list")
	}
}

// The last of the seeds' forms, with any change, is refused: whatever Verify
// accepts has the header and payload of something that was signed.
func FuzzVerify(f *testing.F) {
	r := loaded(f, keys.Config{Store: openStore(f, nil), Algorithms: []string{keys.ES256, keys.EdDSA}})
	signed := map[string]bool{}
	for _, alg := range []string{keys.ES256, keys.EdDSA} {
		token := sign(f, r, alg)
		f.Add(token)
		f.Add(token + "\n")
		signed[token[:strings.LastIndexByte(token, '.')]] = true
	}
	f.Add("e30.e30.e30")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if _, _, _, err := r.Verify(token, "at+jwt"); err == nil {
			if !signed[token[:strings.LastIndexByte(token, '.')]] {
				t.Fatalf("accepted %q", token)
			}
		} else if !errors.Is(err, keys.ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func TestKeysAreNotPrinted(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := keys.Config{Store: openStore(t, nil), Secrets: secretRing(t, secretA), Algorithms: all(), Logger: log}
	r := loaded(t, cfg)
	if err := r.Rotate(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", r)
		fmt.Fprintf(&out, verb+"\n", []any{r, struct{ R *keys.Ring }{r}})
	}
	log.Info("x", "ring", r, "list", []any{r})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "ring", r, "list", []any{r})
	if !strings.Contains(out.String(), kidOf(t, r, keys.ES256)) {
		t.Error("the ids are not printed")
	}
	// A key's print is long; the ids and the words around them are not.
	for _, word := range strings.FieldsFunc(out.String(), func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' || r == '-' || r == '_')
	}) {
		if len(word) > 43 {
			t.Errorf("printed %s", word)
		}
	}
	for _, bad := range []string{"pkcs8", "PrivateKey", "big.Int"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("printed %q", bad)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	r := loaded(b, keys.Config{Store: openStore(b, nil), Algorithms: all()})
	claims := accessToken()
	for _, alg := range all() {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Sign(alg, "at+jwt", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	r := loaded(b, keys.Config{Store: openStore(b, nil), Algorithms: all()})
	for _, alg := range all() {
		token, err := r.Sign(alg, "at+jwt", accessToken())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := r.Verify(token, "at+jwt"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// accessToken is claims of the size of a real access token's.
func accessToken() any {
	return struct {
		Iss      string   `json:"iss"`
		Sub      string   `json:"sub"`
		Aud      []string `json:"aud"`
		Exp      int64    `json:"exp"`
		Iat      int64    `json:"iat"`
		JTI      string   `json:"jti"`
		ClientID string   `json:"client_id"`
		Scope    string   `json:"scope"`
	}{"https://id.example.com", "kJ3nM1pQ7rS9tU2vW4xY6z", []string{"https://api.example.com"}, 1900000600, 1900000000,
		"a1B2c3D4e5F6g7H8i9J0kL", "notes-web", "openid email notes:read notes:write"}
}
