package cloudbase

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// No call of this server asks for a captcha yet. The two calls are here for the app
// that shows one of its own accord, and for the day one is asked for: the SDK then
// shows the picture by itself.

const (
	puzzlePurpose  secrets.Purpose = "captcha puzzle"
	captchaPurpose secrets.Purpose = "captcha token"

	puzzleLife  = 5 * time.Minute
	captchaLife = 10 * time.Minute

	puzzleDigits = 4 // as many as the SDK's field takes
)

// A puzzle is what a captcha's token holds, sealed.
type puzzle struct {
	Digits  string `json:"digits"`
	Expires int64  `json:"exp"` // unix seconds
}

type captchaDataResponse struct {
	Token     string `json:"token"`
	Data      string `json:"data"` // a data: URI
	Type      string `json:"type"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// captchaData is POST captcha/data: a picture of digits.
func (a *API) captchaData(c *call, _ void) (captchaDataResponse, error) {
	digits := make([]byte, puzzleDigits)
	rand.Read(digits) // crypto/rand.Read never fails
	for i := range digits {
		digits[i] = '0' + digits[i]%10 // 256 is no multiple of 10: a bias of 2 % matters to no picture
	}
	plain, err := json.Marshal(puzzle{string(digits), a.Now().Add(puzzleLife).Unix()})
	if err != nil {
		return captchaDataResponse{}, err
	}
	picture, err := draw(string(digits))
	if err != nil {
		return captchaDataResponse{}, err
	}
	return captchaDataResponse{
		Token:     a.Secrets.SealString(puzzlePurpose, plain, []byte(c.client.ID)),
		Data:      "data:image/gif;base64," + base64.StdEncoding.EncodeToString(picture),
		Type:      "image",
		ExpiresIn: seconds(puzzleLife),
	}, nil
}

type captchaVerifyRequest struct {
	Token text `json:"token"`
	Key   text `json:"key"`
}

type captchaVerifyResponse struct {
	Token     string `json:"captcha_token"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// captchaVerify is POST captcha/data/verify. Each picture has one guess.
func (a *API) captchaVerify(c *call, req captchaVerifyRequest) (captchaVerifyResponse, error) {
	wrong := &fault{code: "captcha_invalid", number: numberCaptcha, status: http.StatusBadRequest, text: "api.captcha"}
	var p puzzle
	plain, err := a.Secrets.OpenString(puzzlePurpose, req.Token.value, []byte(c.client.ID))
	if err == nil {
		err = json.Unmarshal(plain, &p)
	}
	if err != nil || a.Now().Unix() >= p.Expires {
		return captchaVerifyResponse{}, wrong.because(err)
	}
	if err := a.useUp(c, req.Token.value, p.Expires); errors.Is(err, storage.ErrConflict) {
		return captchaVerifyResponse{}, wrong.because(err)
	} else if err != nil {
		return captchaVerifyResponse{}, err
	}
	key := req.Key.value
	if missing := puzzleDigits - len(key); req.Key.number && missing > 0 {
		key = strings.Repeat("0", missing) + key
	}
	if subtle.ConstantTimeCompare([]byte(key), []byte(p.Digits)) != 1 {
		return captchaVerifyResponse{}, wrong
	}
	token := a.Secrets.SealString(captchaPurpose, []byte(a.Now().Add(captchaLife).Format(time.RFC3339)), []byte(c.client.ID))
	return captchaVerifyResponse{token, seconds(captchaLife)}, nil
}

// useUp makes a token good for one guess: the second gets storage.ErrConflict.
func (a *API) useUp(c *call, token string, expires int64) error {
	sum := sha256.Sum256([]byte(token))
	return storage.Settle(c.Context(), a.Store, storage.Record{
		Key:     storage.Key{Kind: storage.Replay, ID: "captcha/" + base64.RawURLEncoding.EncodeToString(sum[:])},
		Value:   []byte("1"),
		Expires: time.Unix(expires, 0),
		Version: storage.NewVersion(),
	}) // the picture is used up here
}
