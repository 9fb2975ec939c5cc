package oauthcore

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
)

const (
	interactionPurpose secrets.Purpose = "interaction"
	interactionLife                    = time.Hour
)

// ErrInteraction says that a page's hidden request was not made by us for this
// browser, or is too old.
var ErrInteraction = errors.New("not an interaction of this browser")

// An Interaction is an authorization request on its way through our pages. Until
// somebody types an address it is kept nowhere but in the page, sealed, so a page
// that is only looked at costs the store nothing.
type Interaction struct {
	ID          string     `json:"id"` // names the decision at the end
	Params      url.Values `json:"params,omitempty"`
	RequestedAt int64      `json:"requested_at"` // unix seconds

	// Subject is who was asked to consent, in what a consent page carries.
	Subject string `json:"sub,omitempty"`
}

// NewInteraction begins one. params is empty for a sign-in without a client.
func (c *Core) NewInteraction(params url.Values) Interaction {
	return Interaction{ID: secrets.NewID(), Params: params, RequestedAt: c.now().Unix()}
}

// Encode returns the interaction as bytes for a record that is bound to the
// browser by other means.
func (i Interaction) Encode() ([]byte, error) {
	b, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encode interaction: %w", err)
	}
	return b, nil
}

// DecodeInteraction is the inverse of Encode. No bytes give the zero Interaction.
func DecodeInteraction(b []byte) (i Interaction, err error) {
	if len(b) == 0 {
		return i, nil
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return i, fmt.Errorf("decode interaction: %w", err)
	}
	return i, nil
}

// SealInteraction returns the interaction as a hidden form value that works only
// together with the browser's own secret.
func (c *Core) SealInteraction(i Interaction, browser []byte) (string, error) {
	b, err := i.Encode()
	if err != nil {
		return "", err
	}
	return c.secrets.SealString(interactionPurpose, b, browser), nil
}

// OpenInteraction is the inverse of SealInteraction, or ErrInteraction.
func (c *Core) OpenInteraction(sealed string, browser []byte) (Interaction, error) {
	b, err := c.secrets.OpenString(interactionPurpose, sealed, browser)
	if err != nil {
		return Interaction{}, fmt.Errorf("%w: %w", ErrInteraction, err)
	}
	i, err := DecodeInteraction(b)
	if err != nil {
		return Interaction{}, fmt.Errorf("%w: %w", ErrInteraction, err)
	}
	if age := c.now().Unix() - i.RequestedAt; age < 0 || age > int64(interactionLife/time.Second) {
		return Interaction{}, ErrInteraction
	}
	return i, nil
}
