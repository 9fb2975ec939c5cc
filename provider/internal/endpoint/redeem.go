package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/lettergate/lettergate/oauth/emailcaptcha"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/verification"
)

type sourceKey struct{}

func withSource(ctx context.Context, source netip.Addr) context.Context {
	return context.WithValue(ctx, sourceKey{}, source)
}

// A Redeemer spends emailed codes for the email-captcha grant.
type Redeemer struct {
	Verifications *verification.Service
	Clients       *oauthcore.Clients
}

var _ emailcaptcha.Redeemer = Redeemer{}

// Redeem implements emailcaptcha.Redeemer.
func (d Redeemer) Redeem(ctx context.Context, r emailcaptcha.Redemption) (emailcaptcha.Authentication, error) {
	client, ok := d.Clients.Lookup(r.ClientID)
	if !ok {
		return emailcaptcha.Authentication{}, emailcaptcha.ErrInvalid
	}
	source, _ := ctx.Value(sourceKey{}).(netip.Addr)
	proof, err := d.Verifications.Redeem(ctx, verification.Try{
		Handle: r.VerificationID, ClientID: r.ClientID, Code: r.Code, Verifier: r.CodeVerifier,
		Scopes: r.Scopes, AllowSignUp: client.SignUp, Source: source,
	})
	switch {
	case errors.Is(err, verification.ErrInvalid):
		return emailcaptcha.Authentication{}, fmt.Errorf("%w: %w", emailcaptcha.ErrInvalid, err)
	case errors.Is(err, verification.ErrScope):
		return emailcaptcha.Authentication{}, fmt.Errorf("%w: %w", emailcaptcha.ErrScope, err)
	case err != nil:
		return emailcaptcha.Authentication{}, err
	}
	return emailcaptcha.Authentication{
		Subject: proof.User.Subject, Scopes: proof.Scopes, At: proof.At,
		ACR: oauthcore.ACREmail, AMR: []string{"otp"},
	}, nil
}
