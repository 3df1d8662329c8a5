//! Templates are evaluated as CloudFormation does it.

use emulator::policy::template::{Template, read};
use serde_json::json;

#[test]
fn conditions_and_functions_evaluate_as_in_cloudformation() {
    let text = "
Parameters:
  Stage: {Type: String, Default: prod}
  Count: {Type: Number, Default: 0}
  Secret: {Type: String, NoEcho: true, Default: ''}
Conditions:
  Prod: !Equals [!Ref Stage, prod]
  None: !Equals [!Ref Count, 0]
  NoSecret: !Equals [!Ref Secret, '']
  Both: !And [!Condition Prod, !Not [!Condition None]]
  Either: !Or [!Condition Both, !Condition NoSecret]
Resources:
  R:
    Type: T
    Properties:
      a: !If [Prod, yes it is, no]
      b: !If [Both, 1, !Ref AWS::NoValue]
      c: !Sub '${Stage}-${R}-${R.Arn}-${!Literal}-${AWS::Partition}'
      d: !Sub ['${x}', {x: !Ref Stage}]
      e: !Join ['/', [a, !If [Both, b, !Ref AWS::NoValue], !Ref Stage]]
      f: !Select [1, !Split ['.', 'a.b.c']]
      g: !GetAtt R.Arn
      h: !Ref Secret
      i: !If [Either, on, off]
      j: {'Fn::ImportValue': other}
  Gone: {Type: T, Condition: Both, Properties: {}}
";
    let template = Template::new(read(text).unwrap(), "cn-north-1", &[]).unwrap();
    let resources = template.resources("T").unwrap();
    assert_eq!(resources.len(), 1);
    assert_eq!(
        resources[0].1,
        json!({
            "a": "yes it is", "c": "prod-${R}-${R.Arn}-${Literal}-aws-cn", "d": "prod", "e": "a/prod", "f": "b", "g": "${R.Arn}",
            "h": "${Secret}", "i": "on", "j": "${Fn::ImportValue}",
        })
    );
    for cycle in [
        "Conditions: {A: !Condition A}\nResources: {R: {Type: T, Condition: A}}",
        "Resources: {R: {Type: T, Condition: B}}",
    ] {
        let template = Template::new(read(cycle).unwrap(), "us-east-1", &[]).unwrap();
        assert!(template.resources("T").is_err());
    }
}
