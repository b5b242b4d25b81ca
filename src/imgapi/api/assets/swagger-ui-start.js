"use strict";

// A button beside every file field: whoever has no picture at hand tries it with one of ours.
function samplePicture() {
  const sample = { url: "samples/landscape.jpg", name: "landscape.jpg", type: "image/jpeg" };

  function withButton(Original, { React }) {
    return function FieldWithSample(props) {
      const [isSample, setIsSample] = React.useState(false);
      if (props.schema.get("format") !== "binary") {
        return React.createElement(Original, props);
      }
      async function choose() {
        const answer = await fetch(sample.url);
        props.onChange(new File([await answer.blob()], sample.name, { type: sample.type }));
        setIsSample(true);
      }
      function changed(value) {
        setIsSample(false);
        props.onChange(value);
      }
      return React.createElement(
        "div",
        null,
        React.createElement(Original, { ...props, onChange: changed }),
        React.createElement("button", { type: "button", className: "btn", onClick: choose }, "Use a sample picture"),
        React.createElement("output", null, isSample ? ` ${sample.name} will be sent.` : ""),
      );
    };
  }

  return { wrapComponents: { JsonSchema_string: withButton } };
}

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  plugins: [samplePicture],
  presets: [SwaggerUIBundle.presets.apis],
  tryItOutEnabled: true,
  // The default asks another host whether the document is valid.
  validatorUrl: null,
});
