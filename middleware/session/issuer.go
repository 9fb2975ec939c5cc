package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/lettergate/lettergate/oauth"
)

const (
	// callTimeout bounds each request to the issuer.
	callTimeout = 10 * time.Second
	// metadataLife is how long the issuer's metadata is fresh, and the pauses are the
	// least time between two attempts to read it, without and with an older one.
	metadataLife  = time.Hour
	pauseWithout  = 2 * time.Second
	pauseWith     = time.Minute
	maxUserInfo   = 64 << 10
	maxTokenReply = 64 << 10
)

// tokens are what the token endpoint gave.
type tokens struct {
	access, refresh, id string
	life                time.Duration // 0: not said
}

// An issuer is the other side, asked over HTTP. Nothing is asked before somebody
// needs it.
type issuer struct {
	cfg    Config
	client *http.Client
	tokens *oauth.IDTokenVerifier

	mu      sync.Mutex
	known   *oauth.Metadata
	fetched time.Time
	tried   time.Time
	failure error
	flight  chan struct{} // closed when the running attempt ends, nil when none runs
}

func newIssuer(cfg Config) (*issuer, error) {
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: cfg.Issuer, Client: cfg.Client, Logger: cfg.Logger, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	verifier, err := oauth.NewIDTokenVerifier(oauth.IDTokenConfig{
		Issuer: cfg.Issuer, ClientID: cfg.ClientID, Algorithms: cfg.Algorithms, Now: cfg.Now,
	}, keys)
	if err != nil {
		return nil, err
	}
	client := new(http.Client)
	if cfg.Client != nil {
		*client = *cfg.Client
	}
	// What we ask for has one address. A redirect is how a secret or a token ends up
	// in a place that nobody configured.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &issuer{cfg: cfg, client: client, tokens: verifier}, nil
}

// metadata returns what the issuer says about itself. An older answer is used while
// a fresh one is on its way, or cannot be had. The error is errOutage.
func (i *issuer) metadata(ctx context.Context) (oauth.Metadata, error) {
	i.mu.Lock()
	now := i.cfg.Now()
	pause := pauseWithout
	if i.known != nil {
		pause = pauseWith
	}
	stale := i.known == nil || now.Sub(i.fetched) >= metadataLife
	if since := now.Sub(i.tried); stale && i.flight == nil && (since >= pause || since < 0) {
		i.tried, i.flight = now, make(chan struct{})
		go i.fetchMetadata(now, i.flight)
	}
	flight := i.flight
	if i.known != nil {
		flight = nil
	}
	i.mu.Unlock()
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return oauth.Metadata{}, outage(ctx.Err())
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil {
		return oauth.Metadata{}, outage(fmt.Errorf("the issuer's metadata: %w", i.failure))
	}
	return *i.known, nil
}

// fetchMetadata reads the metadata once and ends the flight. It belongs to no
// request. A panic of a transport is an error like any other.
func (i *issuer) fetchMetadata(began time.Time, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	m, err := func() (m oauth.Metadata, err error) {
		defer recovered(&err)
		if m, err = oauth.FetchMetadata(ctx, i.client, i.cfg.Issuer); err != nil {
			return m, err
		}
		if m.AuthorizationEndpoint == "" || m.TokenEndpoint == "" {
			return m, errors.New("it names no authorization_endpoint or no token_endpoint that is https")
		}
		return m, nil
	}()
	if err != nil {
		i.cfg.Logger.Warn("could not read the issuer's metadata", "issuer", i.cfg.Issuer, "err", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failure = err; err == nil {
		i.known, i.fetched = &m, began
	}
	i.flight = nil
	close(flight)
}

// recovered, deferred, turns a panic into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
	}
}

// config is the configuration of golang.org/x/oauth2.
func (i *issuer) config(m oauth.Metadata) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if i.cfg.ClientSecret == "" || len(m.TokenAuthMethods) > 0 && !slices.Contains(m.TokenAuthMethods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: i.cfg.ClientID, ClientSecret: i.cfg.ClientSecret, RedirectURL: i.cfg.RedirectURL, Scopes: i.cfg.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: style},
	}
}

// authorizeURL is where a sign-in begins.
func (i *issuer) authorizeURL(m oauth.Metadata, f flow) string {
	options := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("nonce", f.Nonce), oauth2.S256ChallengeOption(f.Verifier)}
	target := i.config(m).AuthCodeURL(f.State, options...)
	if len(i.cfg.Params) > 0 {
		target += "&" + i.cfg.Params.Encode()
	}
	return target
}

// call prepares a request of x/oauth2.
func (i *issuer) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	return context.WithValue(ctx, oauth2.HTTPClient, i.client), cancel
}

// exchange spends an authorization code. The error is errEnded when the issuer
// says that the code is no good.
func (i *issuer) exchange(ctx context.Context, m oauth.Metadata, code, verifier string) (tokens, error) {
	ctx, cancel := i.call(ctx)
	defer cancel()
	return read(i.config(m).Exchange(ctx, code, oauth2.VerifierOption(verifier)))
}

// refresh uses a refresh token. The error is errEnded when the issuer says that it
// is no good any more.
func (i *issuer) refresh(ctx context.Context, token string) (tokens, error) {
	ctx, cancel := i.call(ctx)
	defer cancel()
	m, err := i.metadata(ctx)
	if err != nil {
		return tokens{}, err
	}
	return read(i.config(m).TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token())
}

// read turns an answer of the token endpoint into ours. The text of an error of
// x/oauth2 may hold the whole answer, so it is not used.
func read(t *oauth2.Token, err error) (tokens, error) {
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == oauth.CodeInvalidGrant:
		return tokens{}, fmt.Errorf("%w: the token endpoint says invalid_grant", errEnded)
	case errors.As(err, &refused):
		return tokens{}, outage(fmt.Errorf("the token endpoint answers %d %.40q", refused.Response.StatusCode, refused.ErrorCode))
	case err != nil:
		return tokens{}, outage(fmt.Errorf("the token endpoint: %w", err))
	case !strings.EqualFold(t.TokenType, "Bearer"):
		return tokens{}, outage(errors.New("the token endpoint gives tokens of another type than Bearer"))
	}
	id, _ := t.Extra("id_token").(string)
	if len(t.AccessToken)+len(t.RefreshToken)+len(id) > maxTokenReply {
		return tokens{}, outage(fmt.Errorf("the token endpoint gives tokens of more than %d bytes", maxTokenReply))
	}
	got := tokens{access: t.AccessToken, refresh: t.RefreshToken, id: id}
	if t.ExpiresIn > 0 {
		got.life = time.Duration(t.ExpiresIn) * time.Second
	}
	return got, nil
}

// userInfo asks who an access token is about, which has to be sub (OpenID Connect
// Core section 5.3.2).
func (i *issuer) userInfo(ctx context.Context, m oauth.Metadata, access, sub string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.UserInfoEndpoint, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+access)
	req.Header.Set("Accept", "application/json")
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, outage(fmt.Errorf("the userinfo endpoint: %w", err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxUserInfo+1))
	switch {
	case err != nil:
		return nil, outage(fmt.Errorf("the userinfo endpoint: %w", err))
	case resp.StatusCode != http.StatusOK:
		return nil, outage(fmt.Errorf("the userinfo endpoint answers %d", resp.StatusCode))
	case len(body) > maxUserInfo:
		return nil, fmt.Errorf("the userinfo endpoint answers more than %d bytes", maxUserInfo)
	}
	info, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("the userinfo endpoint's answer is %w", err)
	}
	var about string
	if json.Unmarshal(info["sub"], &about) != nil || about != sub {
		return nil, errors.New("the userinfo endpoint's answer is about somebody else")
	}
	return body, nil
}

// revoke tells the issuer that a refresh token is not needed any more (RFC 7009).
func (i *issuer) revoke(ctx context.Context, m oauth.Metadata, token string) error {
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	c := i.config(m)
	if c.Endpoint.AuthStyle == oauth2.AuthStyleInParams {
		form.Set("client_id", c.ClientID)
		if c.ClientSecret != "" {
			form.Set("client_secret", c.ClientSecret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.RevocationEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.Endpoint.AuthStyle == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret)) // RFC 6749 section 2.3.1
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the revocation endpoint answers %d", resp.StatusCode)
	}
	return nil
}

// logoutURL is where the issuer ends its own session, "" when it has no such place
// (OpenID Connect RP-Initiated Logout section 2).
func (i *issuer) logoutURL(m oauth.Metadata, idToken string) string {
	if m.EndSessionEndpoint == "" {
		return ""
	}
	q := url.Values{"client_id": {i.cfg.ClientID}, "id_token_hint": {idToken}}
	if i.cfg.PostLogoutRedirectURL != "" {
		q.Set("post_logout_redirect_uri", i.cfg.PostLogoutRedirectURL)
	}
	separator := "?"
	if strings.Contains(m.EndSessionEndpoint, "?") {
		separator = "&"
	}
	return m.EndSessionEndpoint + separator + q.Encode()
}
